"""Faces followed through a video from one search to the next, each with the trace of its skin so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emo_edge.faces.detector import DetectedFace, box_area
from emo_edge.faces.tracks import followed, overlap
from emo_edge.inference.signals.heart_rate import WINDOW_S
from emo_edge.inference.signals.regions import FloatArray, skin_colour
from emo_edge.inference.signals.traces import SkinTrace
from emo_edge.media.crops import Box, Image

LEAST_OVERLAP = 0.3
"""Of a face's boxes in two searches; below it the face is lost."""
TOO_NEAR = 0.05
"""Overlap of a face with another one's box from which on the two may change places."""
SMOOTHED_S = 0.3
"""Time in which a box follows two thirds of the way: a box that trembles would change the colour that is read in it."""


@dataclass
class FollowedFace:
    """One face: its box, and the colours of its skin over the last window."""

    number: int
    detected: Box
    """As the last search gave it."""
    box: Box
    """Smoothed."""
    present: bool = True
    unsure: bool = False
    last_s: float = 0.0
    """Time of its last detection."""
    rows: deque[tuple[float, FloatArray, bool, bool]] = field(default_factory=deque)
    """Time, colour, lost, unsure of each frame."""
    begun_s: float = 0.0
    """Time of its first colour."""
    windows: int = 0
    """Windows that were measured."""

    def read(self, frame: Image, time_s: float, step_s: float) -> None:
        """Add the skin of a frame that comes ``step_s`` after the one before; forget what no window needs."""
        self.box = _moved(self.box, self.detected, 1 - float(np.exp(-step_s / SMOOTHED_S)))
        colour = skin_colour(frame, self.box) if self.present else np.full(3, np.nan)
        if not self.rows:
            self.begun_s = time_s
        self.rows.append((time_s, colour, bool(np.isnan(colour).any()), self.unsure))
        while self.rows[0][0] < time_s - WINDOW_S - 1:
            self.rows.popleft()

    def trace(self) -> SkinTrace:
        """Return the colours that are kept."""
        times, colours, lost, unsure = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        return SkinTrace(
            np.array(colours, np.float64).reshape(-1, 3), np.array(times), np.array(lost, bool), np.array(unsure, bool)
        )


class FaceFollower:
    """The faces of one stretch of a video."""

    def __init__(self, first_number: int = 0) -> None:
        self.faces: list[FollowedFace] = []
        self.count = first_number
        """Number of the next face."""

    def search(self, detected: Sequence[DetectedFace], time_s: float) -> None:
        """Match the faces of a frame with those that are followed, and follow those that are new."""
        matches = followed([face.detected for face in self.faces], detected)
        pairs = list(zip(self.faces, matches, strict=True))
        taken = [id(match) for face, match in pairs if _is_same(face, match)]
        for face, match in pairs:
            face.unsure = _is_near_another(face, match, pairs, detected)
        for face, match in pairs:
            face.present = _is_same(face, match)
            if match is not None and face.present:
                face.detected, face.last_s = match.box, time_s
        for other in detected:
            if id(other) not in taken:
                self.faces.append(FollowedFace(self.count, other.box, other.box, last_s=time_s))
                self.count += 1

    def forget(self, time_s: float) -> list[FollowedFace]:
        """Return and drop the faces that were not detected for a whole window."""
        gone = [face for face in self.faces if time_s - face.last_s > WINDOW_S]
        self.faces = [face for face in self.faces if time_s - face.last_s <= WINDOW_S]
        return gone

    def largest(self) -> FollowedFace | None:
        """Return the largest face that is present."""
        return max(
            (face for face in self.faces if face.present), key=lambda face: box_area(face.detected), default=None
        )


def _is_same(face: FollowedFace, match: DetectedFace | None) -> bool:
    return match is not None and overlap(face.detected, match.box) >= LEAST_OVERLAP


def _is_near_another(
    face: FollowedFace,
    match: DetectedFace | None,
    pairs: Sequence[tuple[FollowedFace, DetectedFace | None]],
    detected: Sequence[DetectedFace],
) -> bool:
    """Return True where another face overlaps this one's box, or this face another one's."""
    others = [other for other in detected if other is not match]
    if any(overlap(face.detected, other.box) > TOO_NEAR for other in others):
        return True
    return match is not None and any(
        overlap(other.detected, match.box) > TOO_NEAR for other, _ in pairs if other is not face
    )


def _moved(box: Box, target: Box, part: float) -> Box:
    x0, y0, x1, y1 = (one + (other - one) * part for one, other in zip(box, target, strict=True))
    return (x0, y0, x1, y1)
