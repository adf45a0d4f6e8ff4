"""F1 of units and its intervals, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.benchmarks.action_units.scores import f1_interval, gain_interval, mean_f1, unit_f1
from emo_edge.taxonomy import ACTION_UNITS


def test_f1_of_each_unit() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)
    predicted = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]], bool)
    assert unit_f1(truth, predicted).tolist() == pytest.approx([2 / 4, 2 / 4, 0])


def test_the_mean_is_of_the_units_that_are_asked_for() -> None:
    truth = np.ones((2, len(ACTION_UNITS)), bool)
    predicted = truth.copy()
    predicted[0, ACTION_UNITS.index(12)] = False
    assert mean_f1(truth, predicted, (1, 12)) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_f1(truth, predicted, (1, 2)) == 1


def test_intervals_hold_the_figure_and_a_sure_gain_is_above_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((300, len(ACTION_UNITS))) < 0.4
    better, worse = (np.where(rng.random(truth.shape) < part, ~truth, truth) for part in (0.1, 0.3))
    low, high = f1_interval(truth, better)
    assert low < mean_f1(truth, better) < high
    assert gain_interval(truth, better, worse)[0] > 0
    assert gain_interval(truth, better, better) == (0, 0)
