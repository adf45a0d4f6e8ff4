"""Face crops as data of the manifest, and the one place that knows the crop methods by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emo_edge.media.crops import Box, Crop, Image, face_crop, padded_crop
from emo_edge.utils.settings import Rgb, Section, Size


class CropSettings(Section):
    """Crop of a face for one network: see `emo_edge.media.crops`."""

    method: Literal["padded", "stretched"]
    size: Size
    margin: Annotated[float, Field(ge=0, le=4)]
    fill: Rgb = (0.0, 0.0, 0.0)
    """Colour of the padding in [0, 1]; only ``padded`` uses it."""


class Preprocessing(Section):
    """Crops of both networks. Normalisation is inside the graphs."""

    vision: CropSettings | None
    face: CropSettings | None


def crop_face(frame: Image, box: Box | None, settings: CropSettings) -> Crop:
    """Cut the face in ``box`` out of ``frame`` (uint8 RGB [H, W, 3]) for one network; None takes the whole frame."""
    if settings.method == "padded":
        return padded_crop(frame, box, margin=settings.margin, size=settings.size, fill=settings.fill)
    return face_crop(frame, box, margin=settings.margin, size=settings.size)
