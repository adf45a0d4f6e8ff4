"""From the face network's outputs to facts in the units people use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.prompts import FaceLabels
from emo_edge.inference.probability import softmax
from emo_edge.inference.prompt_layout import HEADS
from emo_edge.inference.results import FaceAttributes
from emo_edge.media.crops import Crop
from emo_edge.tensors import Tensor

DEMOGRAPHIC_ATTRIBUTES = ("Male", "Young")
"""Of CelebA's: what they tell is gender and age."""


def face_attributes(
    outputs: Mapping[str, Tensor], rows: slice, shown: int, crop: Crop, labels: FaceLabels, *, demographics: bool
) -> FaceAttributes:
    """Read landmarks, pose, attributes and visibility of row ``shown``, and age, gender, race over ``rows``.

    Args:
        outputs: of the face graph, float32: landmarks [N, 68, 2] in [-1, 1] of the crop, pose [N, 3] in radians
            (pitch, yaw, roll), attributes [N, 40], visibility [N, 29], age [N, 8], gender [N, 2], race [N, 5] logits.
        rows: frames of the one face that is described.
        shown: the row whose geometry is told.
        crop: of that row, to bring the landmarks back to its frame.
        labels: names of the heads' rows.
        demographics: whether age, gender and race are told, and the attributes that come to the same.
    """
    pose = np.degrees(outputs["pose"][shown])
    attributes = dict(zip(labels.attributes, _sigmoid(outputs["attributes"][shown]).tolist(), strict=True))
    shares = {name: softmax(outputs[name][rows]).mean(0) for name in HEADS} if demographics else {}
    return FaceAttributes(
        landmarks=crop.to_frame(outputs["landmarks"][shown]),
        pose_degrees=dict(zip(("pitch", "yaw", "roll"), pose.tolist(), strict=True)),
        attributes={
            name: share for name, share in attributes.items() if demographics or name not in DEMOGRAPHIC_ATTRIBUTES
        },
        hidden_points=_sigmoid(outputs["visibility"][shown]),
        demographics={
            name: dict(zip(getattr(labels, name), share.tolist(), strict=True)) for name, share in shares.items()
        },
    )


def _sigmoid(logits: Tensor) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60))), np.float32)
