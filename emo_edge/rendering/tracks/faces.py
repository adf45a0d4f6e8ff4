"""Faces of a video's frames, as the formats of a table read them."""

from __future__ import annotations

from dataclasses import dataclass

from emo_edge.media.crops import Box
from emo_edge.tensors import Tensor

LANDMARKS = 68


@dataclass(frozen=True)
class FaceContents:
    """Outputs of a bundle's face network as columns: an output that it lacks is none."""

    geometry: bool
    """Landmarks and head pose."""
    units: tuple[int, ...] = ()
    """FACS numbers of the action units."""
    intensities: bool = False
    """Of the units, besides their presence."""
    labels: tuple[str, ...] = ()
    """Expressions, of a network that gives labels itself."""
    values: tuple[str, ...] = ()
    """Numbers on a scale beside the labels, such as valence."""


@dataclass(frozen=True)
class TrackedFrame:
    """A frame of a video."""

    source: str
    """Name of the video, without credentials."""
    index: int
    """0 for the first frame of the video."""
    segment: int
    """Number of jumps of the time stamps before it."""
    seconds: float
    """Since the first frame of its segment."""
    elapsed_s: float
    """Since the first frame of the video: its segments one after the other."""
    width: int
    height: int


@dataclass(frozen=True)
class TrackedFace:
    """A face of a frame; arrays are empty where the network does not give them."""

    face_id: int
    """From 0 on, in the order in which the faces of the video appear."""
    box: Box
    """x0, y0, x1, y1 in frame pixels."""
    score: float | None
    """Of the detector, in [0, 1]."""
    landmarks: Tensor
    """[68, 2], x and y in frame pixels."""
    pose: tuple[float, ...]
    """Pitch, yaw, roll in radians: up, to the image's right, clockwise in the image."""
    presence: Tensor
    """[units], probabilities."""
    active: Tensor
    """[units], True from a unit's threshold on."""
    intensity: Tensor
    """[units], from 0 to 5."""
    probabilities: Tensor
    """[labels], their sum is one."""
    values: Tensor
    """[values], on their scales."""

    @property
    def size(self) -> tuple[float, float]:
        """Return width and height of the box."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]
