"""Open a face detector: Haar cascades, YuNet with the user's weights, or boxes that the user gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, FaceDetector
from emo_edge.faces.haar import HaarDetector
from emo_edge.faces.yunet import YuNetDetector
from emo_edge.media.crops import Box, Image, checked_frame
from emo_edge.utils.suggestions import did_you_mean

__all__ = [
    "DETECTORS",
    "DetectedFace",
    "FaceDetector",
    "FixedBox",
    "HaarDetector",
    "WholeImage",
    "YuNetDetector",
    "faces_in_boxes",
    "open_detector",
]


class FixedBox:
    """The same box in every frame, for a camera that does not move."""

    name = "box"

    def __init__(self, box: Box) -> None:
        try:
            x0, y0, x1, y1 = (float(value) for value in box)
        except (TypeError, ValueError) as error:
            raise InputError(f"a face box is four numbers x0, y0, x1, y1 in pixels, not {box!r}") from error
        if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 <= x0 or y1 <= y0:
            raise InputError(f"a face box is x0, y0, x1, y1 in pixels with x1 > x0 and y1 > y0, not {tuple(box)}")
        self._face = DetectedFace((x0, y0, x1, y1), None)

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return the box; raise InputError when it lies outside ``frame``."""
        height, width = checked_frame(frame).shape[:2]
        x0, y0, x1, y1 = self._face.box
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise InputError(f"face box {self._face.box} lies outside the {width}x{height} frame")
        return [self._face]


def faces_in_boxes(frame: Image, boxes: Iterable[Box]) -> list[DetectedFace]:
    """Return one face a box, in the order of ``boxes``; raise InputError as `FixedBox` does."""
    return [face for box in boxes for face in FixedBox(box).detect(frame)]


class WholeImage:
    """The whole frame as the face, for pictures that are cropped already."""

    name = "whole-image"

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return one box as large as ``frame``."""
        height, width = checked_frame(frame).shape[:2]
        return [DetectedFace((0.0, 0.0, float(width), float(height)), None)]


def _required(value: Any, detector: str, argument: str) -> Any:
    if value is None:
        raise InputError(f"face detector {detector!r} needs {argument}")
    return value


_OPENERS: dict[str, Callable[[str | Path | None, Box | None], FaceDetector]] = {
    "haar": lambda model, box: HaarDetector(),
    "yunet": lambda model, box: YuNetDetector(_required(model, "yunet", "model_path, its ONNX file")),
    "box": lambda model, box: FixedBox(_required(box, "box", "box: x0, y0, x1, y1 in pixels")),
    "whole-image": lambda model, box: WholeImage(),
}
DETECTORS = tuple(_OPENERS)
"""Names that `open_detector` accepts."""


def open_detector(name: str, *, model_path: str | Path | None = None, box: Box | None = None) -> FaceDetector:
    """Open the detector called ``name``: "haar", "yunet" (with ``model_path``), "box" (with ``box``) or "whole-image".

    Raises InputError for another name or a missing argument, MissingExtraError where OpenCV lacks what it needs.
    """
    if name not in _OPENERS:
        raise InputError(
            f"no face detector {name!r}; choose from {', '.join(DETECTORS)}{did_you_mean(name, DETECTORS)}"
        )
    return _OPENERS[name](model_path, box)
