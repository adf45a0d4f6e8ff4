"""Agreement of measured with true values: ICC(3,1), Pearson's r, mean and root mean squared error.

Every figure comes from the sums of `pair_sums`, so that those of several people can be added. NaN means missing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
ROUNDING = 1e-12
"""Part of the squares below which a variance is rounding."""


def pair_sums(truth: ArrayLike, measured: ArrayLike) -> FloatArray:
    """Return count, both sums, both sums of squares, the sum of products, of |errors| and of squared errors, [8].

    Truth and measured values are [N]; pairs in which one is NaN are left out.
    """
    pairs = np.stack([np.asarray(truth, np.float64), np.asarray(measured, np.float64)])
    one, other = pairs[:, ~np.isnan(pairs).any(0)]
    error = other - one
    terms = (one, other, one * one, other * other, one * other, np.abs(error), error * error)
    return np.array([len(one), *(term.sum() for term in terms)], np.float64)


def icc_of_sums(sums: FloatArray) -> float:
    """Return ICC(3,1), consistency of two raters (Shrout and Fleiss 1979), of `pair_sums`; NaN where neither varies.

    (BMS - EMS) / (BMS + EMS) of two raters, whose mean squares are those of half their sum and half their difference.
    """
    first, second, both = _moments(sums)
    return 2 * both / (first + second) if first + second > 0 else math.nan


def pearson_of_sums(sums: FloatArray) -> float:
    """Return Pearson's correlation of `pair_sums`; NaN where one of both does not vary."""
    first, second, both = _moments(sums)
    return both / math.sqrt(first * second) if first > 0 and second > 0 else math.nan


def mean_error_of_sums(sums: FloatArray) -> float:
    """Return the mean absolute error of `pair_sums`; NaN for no pair."""
    return float(sums[6] / sums[0]) if sums[0] else math.nan


def squared_error_of_sums(sums: FloatArray) -> float:
    """Return the root mean squared error of `pair_sums`; NaN for no pair."""
    return math.sqrt(sums[7] / sums[0]) if sums[0] else math.nan


def icc_3_1(truth: ArrayLike, measured: ArrayLike) -> float:
    """Return ICC(3,1) of [N] and [N], as `icc_of_sums`."""
    return icc_of_sums(pair_sums(truth, measured))


def _moments(sums: FloatArray) -> tuple[float, float, float]:
    """Return the centred sums of squares and of products; 0 for a sum of squares that is rounding alone."""
    count, one, other, one_one, other_other, products = sums[:6]
    if not count:
        return 0.0, 0.0, 0.0
    squares = [
        float(square - total * total / count) if square - total * total / count > ROUNDING * square else 0.0
        for square, total in ((one_one, one), (other_other, other))
    ]
    return squares[0], squares[1], float(products - one * other / count)
