"""Agreement of values against the literal mean squares of Shrout and Fleiss, and against scipy and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from emo_edge.metrics.value_agreement import (
    icc_3_1,
    icc_of_sums,
    mean_error_of_sums,
    pair_sums,
    pearson_of_sums,
    squared_error_of_sums,
)

RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 6, 300).astype(float)
MEASURED = 0.6 * TRUTH + RNG.normal(0.4, 0.8, 300)


def literal_icc(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The two mean squares of an analysis of variance, subject by rater."""
    rows = np.stack([one, other], axis=1)
    residual = rows - rows.mean(1, keepdims=True) - rows.mean(0) + rows.mean()
    between, within = 2 * rows.mean(1).var(ddof=1), (residual**2).sum() / (len(rows) - 1)
    return float((between - within) / (between + within))


def test_icc_of_shrout_and_fleiss() -> None:
    """The table of their paper, raters 1 and 4."""
    first, fourth = np.array([9.0, 6, 8, 7, 10, 6]), np.array([8.0, 2, 6, 5, 9, 4])
    assert icc_3_1(first, fourth) == pytest.approx(literal_icc(first, fourth))
    assert icc_3_1(first, first + 2) == pytest.approx(1)
    assert icc_3_1(first, -first) == pytest.approx(-1)


def test_icc_of_many_is_that_of_the_mean_squares() -> None:
    assert icc_3_1(TRUTH, MEASURED) == pytest.approx(literal_icc(TRUTH, MEASURED))


def test_r_and_errors_are_those_of_scipy_and_numpy() -> None:
    sums = pair_sums(TRUTH, MEASURED)
    assert pearson_of_sums(sums) == pytest.approx(float(stats.pearsonr(TRUTH, MEASURED).statistic))
    assert mean_error_of_sums(sums) == pytest.approx(np.abs(TRUTH - MEASURED).mean())
    assert squared_error_of_sums(sums) == pytest.approx(np.sqrt(((TRUTH - MEASURED) ** 2).mean()))


def test_missing_values_are_left_out_in_pairs() -> None:
    truth, measured = TRUTH.copy(), MEASURED.copy()
    truth[:20], measured[10:50] = np.nan, np.nan
    np.testing.assert_allclose(pair_sums(truth, measured), pair_sums(TRUTH[50:], MEASURED[50:]))


def test_sums_of_parts_add_up() -> None:
    parts = pair_sums(TRUTH[:99], MEASURED[:99]) + pair_sums(TRUTH[99:], MEASURED[99:])
    assert icc_of_sums(parts) == pytest.approx(icc_3_1(TRUTH, MEASURED))


def test_nothing_that_varies_has_no_agreement() -> None:
    flat = pair_sums(np.full(5, 2.1), [1, 2, 3, 4, 5])
    assert math.isnan(pearson_of_sums(flat)) and icc_of_sums(flat) == 0
    assert math.isnan(icc_of_sums(pair_sums([2.1] * 7, [2.1] * 7)))
    none = pair_sums([np.nan], [1.0])
    assert all(
        math.isnan(figure(none)) for figure in (pearson_of_sums, icc_of_sums, mean_error_of_sums, squared_error_of_sums)
    )
