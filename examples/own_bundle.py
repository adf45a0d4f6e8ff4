"""Export a checkpoint of your own and read one picture with each profile of the bundle.

python examples/own_bundle.py CHECKPOINT BUNDLE PICTURE [option of `emo-edge export`]...
"""

import subprocess
import sys
from pathlib import Path

import emo_edge

checkpoint, target, picture, *options = sys.argv[1:]
if not Path(target).exists():
    subprocess.run(["emo-edge", "export", checkpoint, "--out", target, *options], check=True)

bundle = emo_edge.Bundle.open(target)  # checks every file against its hash
for name, profile in bundle.manifest.profiles.items():
    agreement = profile.evidence["label_agreement"]  # with PyTorch, on the pictures that export compared
    print(f"{name}: {profile.language}, {agreement:.1%} of the labels as in full precision")
    with emo_edge.EmotionPipeline.open(bundle, profile=name) as pipeline:
        for face in pipeline.read(picture):
            print(f"  {face.label} {face.probabilities[face.label]:.1%}")
