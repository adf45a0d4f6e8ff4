"""Crops as the upstream models were trained with them: the same for several importers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DETECTOR = "mtcnn"
"""Of every imported model: made for photographs, and its weights come with pip. FaceXFormer's own is an MTCNN, too."""
CLIP_RESAMPLE = "pil_bicubic"
"""transformers' ``CLIPImageProcessor``, through which LLaVA and LLaMA-VID read pictures (``resample`` 3), and those of
SigLIP and BLIP, which have the same."""
FACE_RESAMPLE = "pil_bicubic"
"""FaceXFormer's ``inference.py``: torchvision's ``Resize`` with ``InterpolationMode.BICUBIC`` on a PIL picture."""
LANDMARK_RESAMPLE = "opencv_linear"
"""Default of ``cv2.resize``, as ``feature_extraction/landmark/landmark_features.py`` of EmoLA calls it."""


def squaring(settings: Mapping[str, Any], *, siglip: bool = False) -> str:
    """Return ``VisionConfig.squaring`` by LLaVA's ``image_aspect_ratio``.

    Without "pad" CLIP's processor takes the middle, SigLIP's resizes both sides.
    """
    if settings.get("image_aspect_ratio") == "pad":
        return "padded"
    return "stretched" if siglip else "centred"
