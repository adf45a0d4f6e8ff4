"""Face crops as a manifest's settings describe them: the one place that knows the crop methods by name."""

from __future__ import annotations

from emo_edge.bundle.manifest import CropSettings
from emo_edge.media.crops import Box, Crop, Image, face_crop, padded_crop


def crop_face(frame: Image, box: Box | None, settings: CropSettings) -> Crop:
    """Cut the face in ``box`` out of ``frame`` (uint8 RGB [H, W, 3]) for one network; None takes the whole frame."""
    if settings.method == "padded":
        return padded_crop(frame, box, margin=settings.margin, size=settings.size, fill=settings.fill)
    return face_crop(frame, box, margin=settings.margin, size=settings.size)
