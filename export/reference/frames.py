"""An image or a clip with its face boxes, and the features of its frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from emo_edge.bundle.manifest import UNIT_INTENSITY, UNIT_PRESENCE
from emo_edge.errors import InputError
from emo_edge.export.models.action_units.sacl import UnitOutputs
from emo_edge.export.models.facexformer import FaceOutputs
from emo_edge.export.models.token_selection import Selection
from emo_edge.media.crops import Box, Image, checked_frame

FACE_OUTPUTS = ("landmarks", "pose", "attributes", "visibility", "age", "gender", "race")
Frames = Image | Sequence[Image]
Boxes = Box | Sequence[Box] | None


@dataclass(frozen=True)
class Clip:
    """Frames in order, each with its face box or None; one image is a clip of one frame."""

    frames: list[Image]
    boxes: list[Box | None]
    moving: bool
    """True for a clip, so that the prompts name a video."""


@dataclass(frozen=True)
class FrameFeatures:
    """Features that do not depend on the question: computed once, reused for every question."""

    vision: Tensor
    """Features of the image tower [F, T, D], class token first."""
    face: FaceOutputs | None
    """All heads of the face network and its fused map, for F frames; None without a face network."""
    landmarks: Tensor | None = None
    """Raw numbers of a landmark network [F, outputs]; None without one."""
    units: UnitOutputs | None = None
    """Action units of F frames; None where the checkpoint gives none."""
    selection: Selection | None = None
    """Tensors that visual tokens are chosen by, [F, ...] each; None where all are kept."""

    def __len__(self) -> int:
        return len(self.vision)

    def frames(self, part: slice) -> FrameFeatures:
        """Return the features of some of the frames."""
        landmarks = None if self.landmarks is None else self.landmarks[part]
        selection = None if self.selection is None else Selection(*(field[part] for field in self.selection))
        if self.face is None:
            return FrameFeatures(self.vision[part], None, landmarks, selection=selection)
        cut = [None if field is None else field[part] for field in self.face]
        units = None if self.units is None else [None if field is None else field[part] for field in self.units]
        given = None if units is None else UnitOutputs._make(units)
        return FrameFeatures(self.vision[part], FaceOutputs._make(cut), landmarks, given, selection)

    def vision_outputs(self) -> dict[str, Tensor]:
        """Return what the vision graph gives, by its names."""
        return {"features": self.vision, **(self.selection._asdict() if self.selection else {})}

    def graph_outputs(self) -> dict[str, Tensor]:
        """Return what the face graph gives, by its names, the face tokens aside; nothing without a face network."""
        return {} if self.face is None else named_outputs(self.face, self.units)


def named_outputs(face: FaceOutputs, units: UnitOutputs | None) -> dict[str, Tensor]:
    """Return the outputs of a face graph by their names, the face tokens aside."""
    named = {name: getattr(face, name) for name in FACE_OUTPUTS}
    return named if units is None else {**named, **named_units(units)}


def named_units(units: UnitOutputs) -> dict[str, Tensor]:
    """Return the outputs of action units by their names in a graph."""
    named = {UNIT_PRESENCE: units.presence}
    return named if units.intensity is None else {**named, UNIT_INTENSITY: units.intensity}


def normalised_pixels(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise uint8 pictures [N, H, W, 3] as a network reads them: float32 [N, 3, H, W]."""
    scaled = (images.float() / 255 - images.new_tensor(mean, dtype=torch.float32)) / images.new_tensor(
        std, dtype=torch.float32
    )
    return scaled.permute(0, 3, 1, 2)


def as_clip(frames: Frames, boxes: Boxes) -> Clip:
    """Return an image (uint8 [H, W, 3]) or a clip (a sequence of them, or [F, H, W, 3]) as a clip with a box a frame.

    Raises InputError for anything else, and for a number of boxes that is neither one nor one a frame.
    """
    moving = not (isinstance(frames, np.ndarray) and frames.ndim == 3)
    if moving and not isinstance(frames, Iterable):
        raise InputError(f"give an image (uint8 RGB array) or a sequence of them, not {type(frames).__name__}")
    listed = [checked_frame(frame) for frame in (frames if moving else [frames])]
    if not listed:
        raise InputError("a clip needs at least one frame")
    return Clip(listed, _boxes_of(boxes, len(listed)), moving)


def _boxes_of(boxes: Boxes, count: int) -> list[Box | None]:
    if boxes is None:
        return [None] * count
    if not isinstance(boxes, Iterable):
        raise InputError(f"give a face box x0, y0, x1, y1, or one a frame, not {boxes!r}")
    entries: list[Any] = list(boxes)
    if entries and np.isscalar(entries[0]):
        return [cast(Box, tuple(entries))] * count
    if len(entries) != count:
        raise InputError(f"{count} frames but {len(entries)} face boxes: give one box, or one a frame")
    return entries
