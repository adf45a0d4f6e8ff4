"""Print every face of one picture: python examples/image.py BUNDLE PICTURE."""

import sys

import emo_edge

bundle, picture = sys.argv[1:]
with emo_edge.EmotionPipeline.open(bundle) as pipeline:
    faces = pipeline.read(picture, emo_edge.Request(describe=True))
for face in faces:
    x0, y0, x1, y1 = (round(value) for value in face.box)
    print(f"box {x0},{y0} to {x1},{y1}: {face.label}")
    for label, probability in face.probabilities.items():
        print(f"  {label:<12} {probability:6.1%}")
    if face.face:
        pose = ", ".join(f"{name} {value:+.0f}" for name, value in face.face.pose_degrees.items())
        print(f"  head pose in degrees: {pose}")
    for question, answer in face.answers.items():
        print(f"  {question} {answer}")
if not faces:
    print("no face found")
