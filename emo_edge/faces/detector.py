"""The detector protocol and its result, and common steps: shrink the picture, map boxes back to the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from emo_edge.media.crops import Box, Image, checked_frame
from emo_edge.utils.opencv import open_cv2

Point = tuple[float, float]
SEARCH_SIDE = 640
"""Longest side in pixels of the picture that is searched; larger frames are shrunk to it."""


@dataclass(frozen=True)
class DetectedFace:
    """One face of a frame."""

    box: Box
    """x0, y0, x1, y1 in frame pixels, forehead to chin and ear to ear, the same for every detector."""
    score: float | None
    """Confidence in [0, 1], higher is surer, on the detector's own scale; None where nothing was measured."""
    points: tuple[Point, ...] | None = None
    """x, y in frame pixels of both eyes, the nose and both corners of the mouth; of a pair, the one that is left in an
    upright picture is first. None where the detector has no points."""

    @property
    def side(self) -> float:
        """Longer side of the box in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    def moved(self, x: float, y: float, scale: float = 1.0) -> DetectedFace:
        """Return the face moved by ``x`` and ``y`` pixels, then scaled with the picture."""
        x0, y0, x1, y1 = self.box
        box = ((x0 + x) * scale, (y0 + y) * scale, (x1 + x) * scale, (y1 + y) * scale)
        points = None if self.points is None else tuple(((a + x) * scale, (b + y) * scale) for a, b in self.points)
        return DetectedFace(box, self.score, points)


class FaceDetector(Protocol):
    """A face detector. It belongs to one thread at a time."""

    @property
    def name(self) -> str:
        """Return the name that `open_detector` accepts."""

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return the faces of ``frame`` (uint8 RGB [H, W, 3]), the largest first; no face is an empty list."""


def nearest_with_face(has_face: Sequence[bool]) -> list[int]:
    """Return for each frame of a clip the nearest frame with a face, the earlier of two; empty if none has one."""
    with_face = [index for index, present in enumerate(has_face) if present]
    if not with_face:
        return []
    distances = [[(abs(other - index), other) for other in with_face] for index in range(len(has_face))]
    return [min(candidates)[1] for candidates in distances]


def search_picture(frame: Image, *, grey: bool) -> tuple[Image, float]:
    """Return the grey or BGR picture to search and the factor from its pixels to the frame's."""
    cv2 = open_cv2()
    return shrunk(cv2.cvtColor(checked_frame(frame), cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR))


def shrunk(picture: Image) -> tuple[Image, float]:
    """Return the picture with at most `SEARCH_SIDE` pixels a side, and the factor from its pixels to the given ones."""
    cv2 = open_cv2()
    height, width = picture.shape[:2]
    scale = max(height, width) / SEARCH_SIDE
    if scale <= 1:
        return picture, 1.0
    small = (max(round(width / scale), 1), max(round(height / scale), 1))
    return np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8), scale


def in_frame(faces: list[DetectedFace], scale: float, frame: Image) -> list[DetectedFace]:
    """Scale to the frame, clip to it and put the largest first."""
    height, width = frame.shape[:2]
    clipped = []
    for small in faces:
        face = small.moved(0, 0, scale)
        x0, y0, x1, y1 = face.box
        clipped.append(replace(face, box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))))
    return sorted((face for face in clipped if box_area(face.box) > 0), key=lambda face: -box_area(face.box))


def box_area(box: Box) -> float:
    """Return the area of ``box``, 0 where it is inside out."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
