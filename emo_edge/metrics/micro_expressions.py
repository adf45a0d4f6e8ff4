"""Micro-expressions: distance of the apex, spotting of intervals, and both tasks in one score (STRS).

Frames are counted with both ends: an interval from 10 to 19 has ten frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Frames = tuple[int, int]
"""First and last frame of an interval."""
LEAST_OVERLAP = 0.5
"""Intersection over union from which an interval is spotted (MEGC)."""


def apex_error(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean distance of apex frames [N], in frames; NaN means no apex, and such clips are left out."""
    distance = np.abs(np.asarray(truth, np.float64) - np.asarray(predicted, np.float64))
    distance = distance[~np.isnan(distance)]
    return float(distance.mean()) if len(distance) else math.nan


def overlap_of_frames(one: Frames, other: Frames) -> float:
    """Return the intersection over union of two intervals."""
    common = min(one[1], other[1]) - max(one[0], other[0]) + 1
    return max(common, 0) / (one[1] - one[0] + other[1] - other[0] + 2 - max(common, 0))


def spotted(truth: Sequence[Frames], predicted: Sequence[Frames]) -> list[tuple[int, int]]:
    """Return index pairs of true and predicted intervals that match, in the order of the predictions.

    A prediction takes the free true interval that it overlaps most, if by `LEAST_OVERLAP` or more; each interval is
    matched once.
    """
    pairs: list[tuple[int, int]] = []
    free = list(range(len(truth)))
    for number, interval in enumerate(predicted):
        best = max(free, key=lambda row: overlap_of_frames(truth[row], interval), default=None)
        if best is not None and overlap_of_frames(truth[best], interval) >= LEAST_OVERLAP:
            free.remove(best)
            pairs.append((best, number))
    return pairs


def spotting_f1(hits: float, predicted: float, truth: float) -> float:
    """Return the F1 of spotting from numbers of matched, predicted and true intervals; NaN for neither of both."""
    return 2 * hits / (predicted + truth) if predicted + truth else math.nan


def recognition_f1(confusion: FloatArray) -> float:
    """Return the F1 of the labels of spotted intervals: the harmonic mean of macro precision and macro recall.

    ``confusion`` counts by [truth, predicted]; a last column may count labels of no class. A class without a truth or a
    prediction counts as 0 (Liong, See and Chan, Signal Processing: Image Communication 110, 2023; the STRS-Metric
    script of MEGC). NaN where nothing was spotted.
    """
    if not confusion.sum():
        return math.nan
    hits = np.diag(confusion[:, : len(confusion)])
    named = confusion.sum(0)[: len(confusion)]
    precision, recall = (_fractions(hits, total).mean() for total in (named, confusion.sum(1)))
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def spot_then_recognize(spotting: float, recognition: float) -> float:
    """Return STRS, the product of both F1; 0 where nothing was spotted, NaN where there was nothing to spot."""
    if math.isnan(spotting) or spotting == 0:
        return spotting
    return spotting * recognition


def _fractions(hits: FloatArray, total: FloatArray) -> FloatArray:
    return np.asarray(np.divide(hits, total, out=np.zeros(len(hits)), where=total > 0))
