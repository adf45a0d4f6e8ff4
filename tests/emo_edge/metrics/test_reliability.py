"""Trust in probabilities, against figures worked out by hand and in loops."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from emo_edge.metrics.reliability import brier_score, calibration_error, log_loss

SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.35, 0.25], [0.0, 0.0, 1.0]])
TRUTH = np.array([0, 2, 0, 2])


def drawn(seed: int, count: int = 500) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    draw = np.random.default_rng(seed)
    return draw.dirichlet([0.7] * 5, count), draw.integers(0, 5, count)


def test_by_hand() -> None:
    # Confidences .7 right, .8 wrong, .4 right, 1 right: four bins with one sample each.
    assert calibration_error(SHARES, TRUTH) == pytest.approx((0.3 + 0.8 + 0.6 + 0.0) / 4)
    rows = (0.09 + 0.04 + 0.01, 0.01 + 0.64 + 0.81, 0.36 + 0.1225 + 0.0625, 0.0)
    assert brier_score(SHARES, TRUTH) == pytest.approx(sum(rows) / 4)
    assert log_loss(SHARES, TRUTH) == pytest.approx(-(np.log(0.7) + np.log(0.1) + np.log(0.4)) / 4)


def test_a_share_of_zero_for_the_truth_stays_finite() -> None:
    assert log_loss(SHARES[3:], np.array([0])) == pytest.approx(-np.log(1e-12))


def test_an_edge_belongs_to_the_lower_bin() -> None:
    shares = np.array([[0.5, 0.5], [0.5000001, 0.4999999]])
    # Two bins: (0, .5] holds the first, right; (.5, 1] the second, wrong.
    assert calibration_error(shares, np.array([0, 1]), bins=2) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_as_a_loop_over_bins(seed: int) -> None:
    shares, truth = drawn(seed)
    total = 0.0
    for place in range(15):
        low, high = place / 15, (place + 1) / 15
        inside = [row for row in range(len(truth)) if low < shares[row].max() <= high]
        if inside:
            right = np.mean([shares[row].argmax() == truth[row] for row in inside])
            sure = np.mean([shares[row].max() for row in inside])
            total += len(inside) / len(truth) * abs(right - sure)
    assert calibration_error(shares, truth) == pytest.approx(total)


@pytest.mark.parametrize("seed", range(3))
def test_log_loss_is_the_likelihood_of_scipy(seed: int) -> None:
    shares, truth = drawn(seed)
    rows = [
        stats.multinomial(1, row / row.sum()).logpmf(np.eye(5)[true]) for row, true in zip(shares, truth, strict=True)
    ]
    assert log_loss(shares, truth) == pytest.approx(-np.mean(rows))


def test_truth_drawn_from_the_probabilities_is_calibrated() -> None:
    shares, _ = drawn(7, 20_000)
    uniform = np.random.default_rng(8).random((len(shares), 1))
    truth = (shares.cumsum(-1) < uniform).sum(-1)
    assert calibration_error(shares, truth) < 0.015
    squares = (shares * (1 - shares)).sum(-1).mean()
    assert brier_score(shares, truth) == pytest.approx(squares, rel=0.02), "its expectation"
