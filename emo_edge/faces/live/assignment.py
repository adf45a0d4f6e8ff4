"""Pairs of predicted and detected boxes that are most likely the same face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.faces.tracks import FARTHEST, LARGEST_RATIO
from emo_edge.media.crops import Box

Floats = NDArray[np.float64]


def assigned(predicted: Sequence[Box], detected: Sequence[Box]) -> dict[int, int]:
    """Return the index of a detected box by that of a predicted one, each at most once, the best pairs first.

    The cost of a pair is 1 - intersection over union, plus the distance of the middles in sides of the larger box;
    the limits are those of clips (`emo_edge.faces.tracks`).
    """
    if not predicted or not detected:
        return {}
    costs = _costs(np.array(predicted, np.float64), np.array(detected, np.float64))
    pairs: dict[int, int] = {}
    while np.isfinite(best := costs.min()):
        row, column = (int(index) for index in np.argwhere(costs == best)[0])
        pairs[row] = column
        costs[row], costs[:, column] = np.inf, np.inf
    return pairs


def overlaps(ones: Floats, others: Floats) -> Floats:
    """Return the intersection over union of each of N boxes with each of M, [N, M]."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), 2)
    areas, other_areas = (np.prod(boxes[:, 2:] - boxes[:, :2], 1) for boxes in (ones, others))
    return np.asarray(common / np.maximum(areas[:, None] + other_areas[None] - common, 1e-9))


def _costs(ones: Floats, others: Floats) -> Floats:
    sides, other_sides = ((boxes[:, 2:] - boxes[:, :2]).max(1) for boxes in (ones, others))
    larger = np.maximum(np.maximum(sides[:, None], other_sides[None]), 1e-9)
    smaller = np.minimum(sides[:, None], other_sides[None])
    middles, other_middles = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (ones, others))
    distance = np.linalg.norm(middles[:, None] - other_middles[None], axis=2) / larger
    apart = (distance > FARTHEST) | (larger > LARGEST_RATIO * smaller)
    return np.where(apart, np.inf, 1 - overlaps(ones, others) + distance)
