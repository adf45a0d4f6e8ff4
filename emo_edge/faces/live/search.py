"""Search for faces where they were: the same detector on small cut-outs, and on the whole frame now and then."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_edge.faces.detector import DetectedFace, FaceDetector, box_area
from emo_edge.faces.haar import HaarDetector
from emo_edge.faces.limits import NO_LIMITS, FaceLimits, LimitedDetector
from emo_edge.faces.live.assignment import overlaps
from emo_edge.faces.registry import FixedBox, WholeImage
from emo_edge.media.crops import Box, Image
from emo_edge.utils.opencv import open_cv2

CUT_OUT = 1.6
"""Sides of the cut-out in sides of the face's last box."""
CUT_OUT_SIDE = 160
"""Longest side in pixels of a cut-out that is searched; larger ones are shrunk to it."""
HAAR_SIDE = 112
"""The same of Haar's cascades, whose finest windows are no better in larger pictures."""
LEAST_FACE = 0.45
"""Side of the smallest face that is searched in a cut-out, in sides of it; the known face has 1 / 1.6 of it. Boxes get
too large above it: the mean of the hits on a face lacks the smaller ones."""
SAME_FACE = 0.4
"""Intersection over union of two boxes from cut-outs beyond which they are one face."""


@dataclass(frozen=True)
class SearchIntervals:
    """Seconds between two searches of the whole frame."""

    tracked_s: float = 1.0
    """While every face is followed: others may have come."""
    missed_s: float = 0.25
    """While a face is missed."""
    empty_s: float = 0.2
    """While there is no face."""


class FaceSearch:
    """A detector, used on cut-outs around the faces of the frame before and, after an interval, on whole frames."""

    def __init__(
        self,
        detector: FaceDetector,
        intervals: SearchIntervals | None = None,
        detecting: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 - has no state
    ) -> None:
        """Begin; ``detecting`` is held while a detector runs that other searches use, too."""
        self._detecting = detecting
        self.intervals = intervals or SearchIntervals()
        self._limits: FaceLimits = detector.limits if isinstance(detector, LimitedDetector) else NO_LIMITS
        self._detector = detector.inner if isinstance(detector, LimitedDetector) else detector
        # Boxes that the user gave, or the picture's own, are in no cut-out.
        self._only_whole = self._detector.name in (FixedBox.name, WholeImage.name)
        self._near, self._side = self._detector, CUT_OUT_SIDE
        if isinstance(self._detector, HaarDetector):
            self._near, self._side = self._detector.for_large_faces(LEAST_FACE), HAAR_SIDE
        self.last_s: float | None = None
        """Of the last search of the whole frame; None before there was any."""

    def is_due(self, now_s: float, interval_s: float) -> bool:
        """Return True if the whole frame was last searched so long ago; rounding of time stamps does not count."""
        return self._only_whole or self.last_s is None or now_s - self.last_s >= interval_s - 1e-6

    def whole(self, frame: Image, now_s: float) -> list[DetectedFace]:
        """Return the faces of the frame, the largest first."""
        self.last_s = now_s
        with self._detecting:
            faces = self._detector.detect(frame)
        return self._limits.kept(faces, frame)

    def around(self, frame: Image, boxes: Sequence[Box]) -> list[DetectedFace]:
        """Return the faces in cut-outs around ``boxes``, each once, the largest first."""
        faces = [face for box in boxes for face in self._in_cut_out(frame, box)]
        return self._limits.kept(_distinct(faces), frame)

    def forget(self) -> None:
        """Search the next frame as a whole."""
        self.last_s = None

    def _in_cut_out(self, frame: Image, box: Box) -> list[DetectedFace]:
        x0, y0, x1, y1 = _cut_out(box, frame)
        if x1 <= x0 or y1 <= y0:
            return []
        cut = frame[y0:y1, x0:x1]
        scale = max(max(cut.shape[:2]) / self._side, 1.0)
        if scale > 1:
            cv2 = open_cv2()
            size = (max(round(cut.shape[1] / scale), 1), max(round(cut.shape[0] / scale), 1))
            cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
        with self._detecting:
            faces = self._near.detect(np.ascontiguousarray(cut))
        return [face.moved(x0 / scale, y0 / scale, scale) for face in faces]


def _cut_out(box: Box, frame: Image) -> tuple[int, int, int, int]:
    half = CUT_OUT * max(box[2] - box[0], box[3] - box[1]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    height, width = frame.shape[:2]
    left, right = (int(min(max(value, 0), width)) for value in (x - half, x + half))
    top, bottom = (int(min(max(value, 0), height)) for value in (y - half, y + half))
    return left, top, right, bottom


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Keep the surest of boxes that are one face, the largest first."""
    ordered = sorted(faces, key=lambda face: -(face.score or 0.0))
    kept: list[DetectedFace] = []
    for face in ordered:
        others = np.array([other.box for other in kept], np.float64).reshape(-1, 4)
        if not (overlaps(np.array([face.box], np.float64), others) > SAME_FACE).any():
            kept.append(face)
    return sorted(kept, key=lambda face: -box_area(face.box))
