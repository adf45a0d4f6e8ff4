"""Face crops as data of the manifest, and the one place that knows the crop methods by name."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from emo_edge.media.crops import Box, Crop, Image, Resample, centred_crop, face_crop, padded_crop, square_crop
from emo_edge.utils.settings import GrowingSection, Name, Rgb, Section, Size, require

MOST_MARGIN = 4
Margin = Annotated[float, Field(ge=0, le=MOST_MARGIN)]
"""Growth of a face's box on each side, as a fraction of its width and height."""


class CropSettings(Section):
    """Crop of a face for one network: see `emo_edge.media.crops`."""

    method: Literal["centred", "padded", "square", "stretched"]
    size: Size
    margin: Margin
    resample: Resample = "opencv_area_cubic"
    """Resizing that the network was trained with; a manifest without it is of a network trained with the default."""
    fill: Rgb = (0.0, 0.0, 0.0)
    """Colour in [0, 1] of what lies outside: ``padded`` and ``square`` use it."""
    margins: Annotated[dict[Name, Margin], Field(max_length=16)] = Field(default_factory=dict)
    """Margin by detector, where its faces need another one than ``margin``."""

    def margin_of(self, detector: str | None) -> float:
        """Return the margin for the faces of a detector; None for boxes of no detector."""
        return self.margin if detector is None else self.margins.get(detector, self.margin)


class Preprocessing(GrowingSection):
    """Crops of the networks. Normalisation is inside the graphs."""

    newer: ClassVar[tuple[str, ...]] = ("au",)
    vision: CropSettings | None
    face: CropSettings | None
    clip: CropSettings | None = None
    """Crop of the vision net for frames of a clip, where it is not that of a picture."""
    au: CropSettings | None = None
    """Crop of a network of action units of its own."""

    def of_clip(self) -> Preprocessing:
        """Return the crops of a clip's frames."""
        return self if self.clip is None else self.model_copy(update={"vision": self.clip})

    @model_validator(mode="after")
    def _sizes_fit(self) -> Preprocessing:
        size = self.vision.size if self.vision else None
        require(
            (self.clip is None or self.clip.size == size, "preprocessing.clip.size must be preprocessing.vision.size")
        )
        return self


def crop_face(frame: Image, box: Box | None, settings: CropSettings, detector: str | None = None) -> Crop:
    """Cut the face in ``box`` out of ``frame`` (uint8 RGB [H, W, 3]) for one network.

    Args:
        frame: the picture.
        box: in its pixels; None takes the whole frame.
        settings: of the network.
        detector: that gave the box, by its name: its own margin counts.
    """
    margin = settings.margin_of(detector)
    if settings.method in ("centred", "stretched"):
        plain = centred_crop if settings.method == "centred" else face_crop
        return plain(frame, box, margin=margin, size=settings.size, resample=settings.resample)
    cut = padded_crop if settings.method == "padded" else square_crop
    return cut(frame, box, margin=margin, size=settings.size, fill=settings.fill, resample=settings.resample)
