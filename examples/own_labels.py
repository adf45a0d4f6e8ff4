"""Choose among your own labels: python examples/own_labels.py BUNDLE PICTURE LABEL LABEL...

A language model gives every label a probability, the ones that it was not trained on as well. Measure your labels
with `emo-edge bench` before you rely on them.
"""

import sys

import emo_edge

bundle, picture, *labels = sys.argv[1:]
with emo_edge.EmotionPipeline.open(bundle) as pipeline:
    try:
        faces = pipeline.read(picture, emo_edge.Request(labels=tuple(labels)))
    except emo_edge.InputError as error:  # fewer than two labels, or one of them twice
        sys.exit(str(error))
for face in faces:
    for label, probability in sorted(face.probabilities.items(), key=lambda item: -item[1]):
        print(f"{label:<20} {probability:6.1%}")
