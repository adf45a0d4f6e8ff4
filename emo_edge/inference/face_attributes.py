"""Face attributes in common units from the face network's outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emo_edge.bundle.prompts import FaceLabels
from emo_edge.inference.probability import sigmoid, softmax
from emo_edge.inference.prompt_layout import HEADS
from emo_edge.inference.results import FaceAttributes
from emo_edge.media.crops import Crop
from emo_edge.tensors import Tensor

DEMOGRAPHIC_ATTRIBUTES = ("Male", "Young")
"""CelebA attributes that give gender and age away."""


def face_attributes(
    outputs: Mapping[str, Tensor],
    rows: slice,
    middle: int,
    crop: Crop,
    labels: FaceLabels,
    *,
    face_facts: bool,
    demographics: bool,
) -> FaceAttributes:
    """Compute landmarks, pose, attributes and visibility of row ``middle``, and age, gender, race over ``rows``.

    Attributes, age, gender and race are judgements about a person: what was not asked for is not computed.

    Args:
        outputs: of the face graph, float32: landmarks [N, 68, 2] in [-1, 1] of the crop, pose [N, 3] in radians
            (pitch, yaw, roll), attributes [N, 40], visibility [N, 29], age [N, 8], gender [N, 2], race [N, 5] logits.
        rows: frames of the one face that is described.
        middle: the row whose geometry is described.
        crop: of that row, to map the landmarks to its frame.
        labels: names of the heads' rows.
        face_facts: False leaves out the attributes.
        demographics: False leaves out age, gender and race, and the attributes that give them away.
    """
    pose = np.degrees(outputs["pose"][middle])
    heads = {name: softmax(outputs[name][rows]).mean(0).tolist() for name in HEADS} if demographics else {}
    return FaceAttributes(
        landmarks=crop.to_frame(outputs["landmarks"][middle]),
        pose_degrees=dict(zip(("pitch", "yaw", "roll"), pose.tolist(), strict=True)),
        attributes=_attributes(outputs["attributes"][middle], labels, demographics=demographics) if face_facts else {},
        hidden_points=np.asarray(sigmoid(outputs["visibility"][middle]), np.float32),
        demographics={
            name: dict(zip(getattr(labels, name), probabilities, strict=True)) for name, probabilities in heads.items()
        },
    )


def shown_attributes(labels: FaceLabels, *, demographics: bool) -> list[str]:
    """List the attributes that a result has; without ``demographics``, not those that give them away."""
    return [name for name in labels.attributes if demographics or name not in DEMOGRAPHIC_ATTRIBUTES]


def _attributes(logits: Tensor, labels: FaceLabels, *, demographics: bool) -> dict[str, float]:
    probabilities = dict(zip(labels.attributes, np.asarray(sigmoid(logits), np.float32).tolist(), strict=True))
    return {name: probabilities[name] for name in shown_attributes(labels, demographics=demographics)}
