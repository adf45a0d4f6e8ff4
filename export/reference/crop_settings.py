"""Crops of a checkpoint's networks: as upstream trained them, and as the manifest states them from the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.export.configs.networks import FaceConfig, LandmarkConfig, VisionConfig

CLIP_RESAMPLE = "pil_bicubic"
"""transformers' ``CLIPImageProcessor``, through which LLaVA and LLaMA-VID read pictures (``resample`` 3), and those of
SigLIP and BLIP, which have the same."""
LANDMARK_RESAMPLE = "opencv_linear"
"""Default of ``cv2.resize``, as ``feature_extraction/landmark/landmark_features.py`` of EmoLA calls it."""


def squaring(settings: Mapping[str, Any], *, siglip: bool = False) -> str:
    """Return ``VisionConfig.squaring`` by LLaVA's ``image_aspect_ratio``.

    Without "pad" CLIP's processor takes the middle, SigLIP's resizes both sides.
    """
    if settings.get("image_aspect_ratio") == "pad":
        return "padded"
    return "stretched" if siglip else "centred"


def vision_crop_settings(vision: VisionConfig, *, clip: bool = False) -> CropSettings:
    """Return the crop of the vision tower: padded to a square, as LLaVA and LLaMA-VID train, or its middle square."""
    return CropSettings(
        method=(vision.clip_squaring if clip else None) or vision.squaring,
        size=vision.image_size,
        margin=vision.crop_margin,
        resample=vision.resample,
        fill=vision.image_mean,
    )


def face_crop_settings(face: FaceConfig | LandmarkConfig) -> CropSettings:
    """Return the crop of the face or landmark network: stretched to a square, as FaceXFormer's inference does."""
    return CropSettings(method="stretched", size=face.image_size, margin=face.crop_margin, resample=face.resample)
