"""Figures of heart rates against NumPy and scipy; refused windows count for the coverage alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from emo_edge.metrics.by_subject import Figure
from emo_edge.metrics.heart_rates import heart_rate_figures

RNG = np.random.default_rng(8)
TRUTH = RNG.uniform(50, 140, 40)
MEASURED = TRUTH + RNG.normal(0, 3, 40)
SNR = RNG.normal(4, 2, 40)
SUBJECTS = [f"subject{number // 4}" for number in range(40)]


def test_figures_are_those_of_numpy_and_scipy() -> None:
    measured = np.where(np.arange(40) % 5 == 0, np.nan, MEASURED)
    kept = ~np.isnan(measured)
    figures = heart_rate_figures(TRUTH, measured, SNR, SUBJECTS)
    error = (measured - TRUTH)[kept]
    assert figures["mae"].value == pytest.approx(np.abs(error).mean())
    assert figures["rmse"].value == pytest.approx(np.sqrt((error**2).mean()))
    assert figures["r"].value == pytest.approx(stats.pearsonr(TRUTH[kept], measured[kept]).statistic)
    assert figures["snr_db"].value == pytest.approx(SNR.mean())
    assert figures["coverage"].value == pytest.approx(0.8)
    for value, low, high in figures.values():
        assert value is not None and low is not None and high is not None and low <= value <= high


def test_nothing_measured_has_a_coverage_and_no_error() -> None:
    figures = heart_rate_figures(TRUTH, np.full(40, np.nan), np.full(40, np.nan), SUBJECTS)
    assert figures["coverage"] == Figure(0, 0, 0)
    assert all(figures[name] == Figure(None, None, None) for name in ("mae", "rmse", "r", "snr_db"))


def test_one_person_has_figures_without_an_interval_and_two_rates_no_correlation() -> None:
    figures = heart_rate_figures([60, 70], [61, 70], [3, 3], ["a", "a"])
    assert figures["mae"] == Figure(0.5, None, None) and figures["r"] == Figure(None, None, None)
