"""Find faces with MTCNN: three small networks, each of which looks closer at what the one before it kept.

The steps are those of the paper (Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", 2016) with the numbers of ipazc/mtcnn, whose weights the graphs hold. What a hostile picture
can make each step compute is bounded: see `MOST_CELLS` and `MOST_BOXES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.faces.box_sets import joined, largest_scores, square, suppressed
from emo_edge.faces.detector import DetectedFace, in_frame, search_picture
from emo_edge.media.crops import Image
from emo_edge.utils.opencv import open_cv2

Floats = NDArray[np.float32]
Network = Callable[[Floats], "tuple[Floats, ...]"]
"""Runs a graph on [N, W, H, 3] in [-1, 1], columns before rows as the weights were trained; returns its outputs."""

MIN_FACE = 20
"""Smallest face in pixels of the searched picture."""
CELL, STRIDE, SHRINK = 12, 2, 0.709
"""Pixels that the first network looks at, its step, and the ratio of two pictures of the pyramid."""
THRESHOLDS = (0.6, 0.7, 0.7)
"""Least score behind each network."""
MOST_CELLS = 1000
"""Candidates of one picture of the pyramid, the surest ones."""
MOST_BOXES = (600, 150)
"""Candidates that the second and the third network look at. Photographs of crowds need fewer."""


@dataclass(frozen=True)
class Mtcnn:
    """The three networks."""

    proposal: Network
    """Boxes [1, w, h, 4] and scores [1, w, h, 2] of every cell of a picture of any size."""
    refinement: Network
    """Boxes [N, 4] and scores [N, 2] of crops of 24 pixels."""
    output: Network
    """Boxes [N, 4], landmarks [N, 10] and scores [N, 2] of crops of 48 pixels."""


class MtcnnDetector:
    """MTCNN over the frame, shrunk as for every detector. Scores are probabilities."""

    name = "mtcnn"

    def __init__(self, networks: Mtcnn, *, min_face: int = MIN_FACE) -> None:
        self._networks, self._min_face = networks, min_face

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return the faces of ``frame`` (uint8 RGB [H, W, 3]), the largest first."""
        bgr, scale = search_picture(frame, grey=False)
        faces = [
            DetectedFace((x0, y0, x1, y1), score, tuple(zip(points[:5], points[5:], strict=True)))
            for x0, y0, x1, y1, score, *points in self.boxes(bgr[..., ::-1]).tolist()
        ]
        return in_frame(faces, scale, frame)

    def boxes(self, picture: Image) -> Floats:
        """Return [N, 15] of x0, y0, x1, y1, score, five x and five y of points in pixels of ``picture`` (uint8 RGB)."""
        pixels = np.ascontiguousarray(picture)
        proposed = self._proposed(pixels)
        refined = self._refined(pixels, largest_scores(proposed, MOST_BOXES[0]))
        return self._final(pixels, largest_scores(refined, MOST_BOXES[1]))

    def _proposed(self, picture: Image) -> Floats:
        """Run the first network over a pyramid of pictures; return squares [N, 5] in whole pixels."""
        candidates = joined([self._cells(picture, scale) for scale in _scales(picture, self._min_face)], 9)
        candidates = candidates[suppressed(candidates, 0.7)]
        size = candidates[:, 2:4] - candidates[:, :2]
        corners = candidates[:, :4] + candidates[:, 5:9] * np.concatenate([size, size], 1)
        return square(np.concatenate([corners, candidates[:, 4:5]], 1))

    def _cells(self, picture: Image, scale: float) -> Floats:
        """Return box, score and its correction, [N, 9], of one picture of the pyramid."""
        height, width = picture.shape[:2]
        small = _resized(picture, int(np.ceil(width * scale)), int(np.ceil(height * scale)))
        corrections, scores = self._networks.proposal(_network_input(small[None]))
        columns, rows = np.nonzero(scores[0, :, :, 1] >= THRESHOLDS[0])
        score = scores[0, columns, rows, 1]
        kept = np.argsort(-score, kind="stable")[:MOST_CELLS]
        corner = np.stack([columns, rows], 1)[kept] * STRIDE
        boxes = np.concatenate([np.fix((corner + 1) / scale), np.fix((corner + CELL) / scale)], 1)
        candidates = np.concatenate([boxes, score[kept, None], corrections[0, columns, rows][kept]], 1).astype(
            np.float32
        )
        return candidates[suppressed(candidates, 0.5)]

    def _refined(self, picture: Image, boxes: Floats) -> Floats:
        """Run the second network on squares [N, 5]; return those that pass, corrected and square again."""
        boxes, crops = _crops(picture, boxes, 24)
        if not len(boxes):
            return boxes
        corrections, scores = self._networks.refinement(_network_input(crops))
        kept = scores[:, 1] > THRESHOLDS[1]
        candidates = np.concatenate([boxes[kept, :4], scores[kept, 1:2], corrections[kept]], 1)
        candidates = candidates[suppressed(candidates, 0.7)]
        return square(_corrected(candidates))

    def _final(self, picture: Image, boxes: Floats) -> Floats:
        """Run the third network; return boxes, scores and points [N, 15] of the faces."""
        boxes, crops = _crops(picture, boxes, 48)
        if not len(boxes):
            return np.empty((0, 15), np.float32)
        corrections, points, scores = self._networks.output(_network_input(crops))
        kept = scores[:, 1] > THRESHOLDS[2]
        squares = boxes[kept]
        candidates = _corrected(np.concatenate([squares[:, :4], scores[kept, 1:2], corrections[kept]], 1))
        whole = np.concatenate([candidates, _placed(points[kept], squares)], 1)
        return whole[suppressed(candidates, 0.7, of_smaller=True)]


def _placed(points: Floats, squares: Floats) -> Floats:
    """Map points [N, 10], five x and five y in sides of their square, to pixels; a square holds both its corners."""
    size = squares[:, 2:4] - squares[:, :2] + 1
    return points * np.repeat(size, 5, 1) + np.repeat(squares[:, :2] - 1, 5, 1)


def _scales(picture: Image, min_face: int) -> Iterator[float]:
    """Yield the sizes of the pyramid, down to the picture whose shorter side is one cell."""
    scale = CELL / min_face
    while min(picture.shape[:2]) * scale >= CELL:
        yield scale
        scale *= SHRINK


def _resized(picture: Image | Floats, width: int, height: int) -> Image | Floats:
    cv2 = open_cv2()
    resized: Image | Floats = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return resized


def _network_input(pictures: Image | Floats) -> Floats:
    """Return pictures [N, H, W, 3] as the networks read them."""
    scaled = (pictures.astype(np.float32) - 127.5) * np.float32(0.0078125)
    return np.ascontiguousarray(scaled.transpose(0, 2, 1, 3))


def _corrected(candidates: Floats) -> Floats:
    """Move the corners of [N, 9] by their corrections, in sizes of the box; [N, 5]."""
    size = candidates[:, 2:4] - candidates[:, :2] + 1
    corners = candidates[:, :4] + candidates[:, 5:9] * np.concatenate([size, size], 1)
    return np.concatenate([corners, candidates[:, 4:5]], 1)


def _crops(picture: Image, boxes: Floats, side: int) -> tuple[Floats, Floats]:
    """Cut squares out of the picture, black outside it, [N, side, side, 3]; a box without a pixel is left out."""
    whole = np.fix(boxes[:, :4]).astype(np.int64)
    height, width = picture.shape[:2]
    # As trained: a box holds both its corners, counted from one.
    left, top, right, bottom = whole[:, 0] - 1, whole[:, 1] - 1, whole[:, 2], whole[:, 3]
    inside = (np.minimum(right, width) > np.maximum(left, 0)) & (np.minimum(bottom, height) > np.maximum(top, 0))
    kept = np.flatnonzero(inside)
    crops = np.zeros((len(kept), side, side, 3), np.float32)
    for row, index in enumerate(kept):
        x0, y0, x1, y1 = int(left[index]), int(top[index]), int(right[index]), int(bottom[index])
        square_crop = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
        own = picture[max(y0, 0) : y1, max(x0, 0) : x1]
        y, x = max(-y0, 0), max(-x0, 0)
        square_crop[y : y + own.shape[0], x : x + own.shape[1]] = own
        crops[row] = _resized(square_crop, side, side)
    return np.concatenate([whole[kept].astype(np.float32), boxes[kept, 4:5]], 1), crops
