"""F1 of action units with bootstrap intervals, and the agreement of intensities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.taxonomy import ACTION_UNITS

Booleans = NDArray[np.bool_]


def unit_f1(truth: Booleans, predicted: Booleans) -> NDArray[np.float64]:
    """Return the F1 of each unit, [U], for [N, U]; 0 where a unit is neither there nor predicted."""
    hits = (truth & predicted).sum(0)
    total = truth.sum(0) + predicted.sum(0)
    return np.asarray(np.divide(2 * hits, total, out=np.zeros(len(hits)), where=total > 0))


def mean_f1(truth: Booleans, predicted: Booleans, units: Sequence[int] = ACTION_UNITS) -> float:
    """Return the mean F1 of ``units``, whose columns are in the order of `ACTION_UNITS`."""
    columns = [ACTION_UNITS.index(unit) for unit in units]
    return float(unit_f1(truth[:, columns], predicted[:, columns]).mean())


def f1_interval(truth: Booleans, predicted: Booleans) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean F1 over drawings."""
    return percentile_interval(resampled(lambda draw: mean_f1(truth[draw], predicted[draw]), len(truth)))


def gain_interval(truth: Booleans, predicted: Booleans, baseline: Booleans) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the difference of two mean F1 on the same drawings."""

    def gain(draw: NDArray[np.int64]) -> float:
        return mean_f1(truth[draw], predicted[draw]) - mean_f1(truth[draw], baseline[draw])

    return percentile_interval(resampled(gain, len(truth)))


def icc_3_1(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return ICC(3,1), consistency of two raters, of [N] and [N] (Shrout and Fleiss 1979)."""
    table = np.stack([truth, predicted], axis=1).astype(np.float64)
    rows, grand = table.mean(1, keepdims=True), table.mean()
    count = len(table)
    between = 2 * ((rows - grand) ** 2).sum() / (count - 1)
    residual = ((table - rows - table.mean(0, keepdims=True) + grand) ** 2).sum() / (count - 1)
    return float((between - residual) / (between + residual))
