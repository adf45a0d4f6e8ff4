"""F1 of action units on drawings with bootstrap intervals; a drawing is a person of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.metrics.unit_detection import detection_counts, f1_of_counts
from emo_edge.taxonomy import ACTION_UNITS

Booleans = NDArray[np.bool_]


def unit_f1(truth: Booleans, predicted: Booleans) -> NDArray[np.float64]:
    """Return the F1 of each unit, [U], for [N, U]; 0 where a unit is neither there nor predicted."""
    return np.nan_to_num(f1_of_counts(detection_counts(truth, predicted)))


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
