"""Print the label of a video as it changes: python examples/video.py BUNDLE VIDEO.

VIDEO may also be the number of a camera or the address of a stream, which are read without end.
"""

import sys

import emo_edge

bundle, video = sys.argv[1:]
clips = emo_edge.ClipSampling(frames=4, fps=8.0)  # four frames in one prompt, eight frames a second: a clip is 0.5 s
with emo_edge.EmotionPipeline.open(bundle) as pipeline:
    for result in emo_edge.stream(pipeline, video, emo_edge.Request(), clips):
        if result.error:
            sys.exit(f"{result.source}: {result.error}")
        if result.seconds is None or not result.faces:
            print("no face")
            continue
        (face,) = result.faces  # of a clip the largest face is read
        start, end = result.seconds
        print(f"{start:5.1f}-{end:.1f} s  {face.label:<10} {face.probabilities[face.label]:.0%}")
