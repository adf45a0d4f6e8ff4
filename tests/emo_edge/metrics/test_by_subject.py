"""Intervals over subjects: the draws, their width, and figures that some draws do not have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.metrics.by_subject import drawn_counts, interval_of_samples, interval_of_sums


def test_every_draw_takes_as_many_people_as_there_are() -> None:
    counts = drawn_counts(7, resamples=50)
    assert counts.shape == (50, 7) and set(counts.sum(1).tolist()) == {7}
    np.testing.assert_array_equal(counts, drawn_counts(7, resamples=50))
    assert (counts != drawn_counts(7, seed=1, resamples=50)).any()


def test_sums_and_samples_give_the_interval_of_the_plain_bootstrap_over_people() -> None:
    rng = np.random.default_rng(1)
    values, subjects = rng.normal(size=60), [f"s{number // 5:02d}" for number in range(60)]
    by_person = values.reshape(12, 5)
    wanted = percentile_interval(resampled(lambda draw: float(by_person[draw].mean()), 12))
    sums = np.stack([by_person.sum(1), np.full(12, 5.0)], axis=1)
    assert interval_of_sums(lambda total: float(total[0] / total[1]), sums) == pytest.approx(wanted)
    assert interval_of_samples(lambda rows: float(values[rows].mean()), subjects) == pytest.approx(wanted)


def test_people_who_differ_make_a_wide_interval_however_many_frames_they_have() -> None:
    means = np.repeat([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], 1000)
    subjects = [f"{number // 1000}" for number in range(6000)]
    by_person = interval_of_samples(lambda rows: float(means[rows].mean()), subjects)
    by_frame = percentile_interval(resampled(lambda rows: float(means[rows].mean()), 6000, resamples=200))
    assert by_person is not None
    assert by_person[1] - by_person[0] > 10 * (by_frame[1] - by_frame[0])


def test_one_person_has_no_interval() -> None:
    assert interval_of_sums(lambda total: float(total[0]), np.ones((1, 1))) is None
    assert interval_of_samples(lambda rows: 1.0, ["a", "a"]) is None
    assert interval_of_samples(lambda rows: 1.0, []) is None


def test_a_figure_that_many_draws_lack_has_no_interval() -> None:
    rare = np.array([[1.0], [0.0], [0.0], [0.0]])
    assert interval_of_sums(lambda total: float(total[0]) if total[0] else math.nan, rare) is None
    common = np.array([[1.0], [1.0], [1.0], [0.0]])
    interval = interval_of_sums(lambda total: float(total[0]) if total[0] else math.nan, common)
    assert interval is not None and interval[0] >= 1, "draws without the figure are left out"
