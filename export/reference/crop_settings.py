"""Crops of a checkpoint's networks as the manifest states them, from the checkpoint's config."""

from __future__ import annotations

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.export.configs.networks import FaceConfig, LandmarkConfig, VisionConfig


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
