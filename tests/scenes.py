"""Drawn scenes of moving squares, and a detector that finds them by their greys; what hides them hides them from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.faces.detector import DetectedFace, box_area
from emo_edge.media.crops import Box

SIDE = 40
WIDTH, HEIGHT = 320, 160
VISIBLE = 0.6
"""Least part of a square that the detector needs."""


def drawn(middles: Mapping[int, tuple[float, float]], side: int = SIDE) -> NDArray[np.uint8]:
    """Return a frame with a square of each grey at its middle, later ones in front."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for grey, (x, y) in middles.items():
        left, top = round(x - side / 2), round(y - side / 2)
        frame[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = grey
    return frame


class SquareDetector:
    """Finds squares; counts the pixels that it searched, and whole frames."""

    name = "squares"

    def __init__(self, noise: float = 0.0) -> None:
        self.pixels = self.whole = 0
        self._noise, self._numbers = noise, np.random.default_rng(0)

    def detect(self, frame: NDArray[np.uint8]) -> list[DetectedFace]:
        self.pixels += frame.shape[0] * frame.shape[1]
        self.whole += frame.shape[:2] == (HEIGHT, WIDTH)
        grey = frame[..., 0]
        boxes = [self._box(grey == value) for value in np.flatnonzero(np.bincount(grey.ravel())) if value]
        faces = [DetectedFace(box, 0.9) for box in boxes if box is not None]
        return sorted(faces, key=lambda face: -box_area(face.box))

    def _box(self, mask: NDArray[np.bool_]) -> Box | None:
        if mask.sum() < VISIBLE * SIDE**2:
            return None
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
        x0, y0, x1, y1 = (edges + self._numbers.normal(0, self._noise * SIDE, 4)).tolist()
        return (x0, y0, x1, y1)


def greys_of(frame: NDArray[np.uint8], boxes: Sequence[Box]) -> list[int]:
    """Return the grey at the middle of each box."""
    return [int(frame[int((y0 + y1) / 2), int((x0 + x1) / 2), 0]) for x0, y0, x1, y1 in boxes]
