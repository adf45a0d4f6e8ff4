"""Find faces with YuNet, a small network that OpenCV runs; the user brings its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import InputError, MissingExtraError
from emo_edge.faces.detector import DetectedFace, in_frame, search_picture
from emo_edge.machine.cpus import limit_opencv_threads
from emo_edge.media.crops import Image
from emo_edge.utils.files import substitute
from emo_edge.utils.native_paths import native_path
from emo_edge.utils.opencv import open_cv2

OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""Outputs by kind, a row a cell, and the values of a row."""
STRIDES = (8, 16, 32)
PROBED = ((320, 320), (96, 64))
"""Sizes whose outputs are counted before OpenCV's detector reads them."""


class YuNetDetector:
    """YuNet through OpenCV's FaceDetectorYN; the user brings the ONNX file. Its boxes are not corrected.

    Raises InputError when the file is missing, is not ONNX or is another network. Scores are in [0, 1].
    """

    name = "yunet"

    def __init__(self, model_path: str | Path, *, min_score: float = 0.7) -> None:
        path = Path(model_path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; a YuNet detector needs the path of its ONNX model")
        cv2 = open_cv2()
        limit_opencv_threads(cv2)
        if not hasattr(cv2, "FaceDetectorYN"):
            raise MissingExtraError("this OpenCV has no FaceDetectorYN: install 4.5.4 or newer")
        with native_path(path) as name:
            try:
                _require_any_size(cv2, path, name)
                self._network = cv2.FaceDetectorYN.create(name, "", (320, 320), score_threshold=min_score)
                self.detect(np.zeros((320, 320, 3), np.uint8))
            except cv2.error as error:
                reason = " ".join(str(error.err or error).split()).replace(name, path.name)
                other = f"not a YuNet model in ONNX that OpenCV can run ({reason})"
                raise InputError(f"{path}: {substitute(path) or other}") from error

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return the faces of ``frame`` (uint8 RGB [H, W, 3]), the largest first."""
        picture, scale = search_picture(frame, grey=False)
        self._network.setInputSize((picture.shape[1], picture.shape[0]))
        rows = self._network.detect(picture)[1]
        values = [] if rows is None else [[float(value) for value in row] for row in rows]
        if not all(map(math.isfinite, (number for row in values for number in row))):
            raise InputError("the YuNet model computes values that are no numbers; give `yunet` another file")
        faces = [
            DetectedFace((x, y, x + w, y + h), score, tuple(zip(points[::2], points[1::2], strict=True)))
            for x, y, w, h, *points, score in values
        ]
        return in_frame(faces, scale, frame)


def _require_any_size(cv2: Any, path: Path, name: str) -> None:
    """Raise InputError for outputs that do not follow the picture's size: OpenCV reads as many as the picture has."""
    network = cv2.dnn.readNetFromONNX(name)
    wanted = [(f"{kind}_{stride}", stride, width) for kind, width in OUTPUTS.items() for stride in STRIDES]
    for columns, rows in PROBED:
        network.setInput(np.zeros((1, 3, rows, columns), np.float32))
        outputs = network.forward([output for output, _, _ in wanted])
        for values, (output, stride, width) in zip(outputs, wanted, strict=True):
            needed = (rows // stride) * (columns // stride) * width
            if values.size != needed:
                raise InputError(
                    f"{path}: not a YuNet model for pictures of other sizes: {output} has {values.size} values for "
                    f"{columns}x{rows} pixels, not {needed}"
                )
