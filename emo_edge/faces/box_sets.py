"""Operations on many candidate boxes at once: [N, 5 or more] of x0, y0, x1, y1, score and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def joined(parts: Sequence[Floats], columns: int) -> Floats:
    """Return all rows of ``parts``; none of them is an empty set of so many columns."""
    return np.concatenate(parts) if parts else np.empty((0, columns), np.float32)


def largest_scores(boxes: Floats, count: int) -> Floats:
    """Return the ``count`` surest rows, in the order they had."""
    if len(boxes) <= count:
        return boxes
    return boxes[np.sort(np.argsort(-boxes[:, 4], kind="stable")[:count])]


def square(boxes: Floats) -> Floats:
    """Lengthen the shorter side of each box around its middle."""
    size = boxes[:, 2:4] - boxes[:, :2]
    side = size.max(1, keepdims=True) if len(boxes) else np.empty((0, 1), np.float32)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return np.concatenate([corner, corner + side, boxes[:, 4:]], 1)


def suppressed(boxes: Floats, most: float, *, of_smaller: bool = False) -> NDArray[np.intp]:
    """Return the rows that are kept, the surest first: none overlaps a surer one by more than ``most``.

    Overlap is intersection over union, or over the smaller box where ``of_smaller``. A box holds both its corners.
    """
    x0, y0, x1, y1, scores = boxes[:, :5].T
    areas = (x1 - x0 + 1) * (y1 - y0 + 1)
    order, kept = np.argsort(scores, kind="stable")[::-1], []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        width = np.minimum(x1[first], x1[rest]) - np.maximum(x0[first], x0[rest]) + 1
        height = np.minimum(y1[first], y1[rest]) - np.maximum(y0[first], y0[rest]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = np.minimum(areas[first], areas[rest]) if of_smaller else areas[first] + areas[rest] - shared
        order = rest[shared <= most * whole]
    return np.array(kept, np.intp)
