"""The neutral face: a percentile of a face's own first seconds, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.tracking.neutral import GONE_S, NeutralFaces


def test_the_percentile_is_that_of_numpy_within_a_step() -> None:
    values = np.random.default_rng(0).uniform(0, 5, (400, 2)) ** 1.5 / 3
    neutral = NeutralFaces(1000.0, 2)
    for index, one in enumerate(values):
        neutral.add(7, index / 25, one)
    neutral.settle()
    expected = np.percentile(values, 5, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(neutral.offset(7), expected, atol=0.0051)


def test_only_the_first_seconds_of_each_face_count() -> None:
    neutral = NeutralFaces(2.0, 1)
    for index in range(100):
        time_s = index / 10
        neutral.add(0, time_s, np.array([3.0 if time_s <= 2 else 0.0]))
        if time_s >= 5:
            neutral.add(1, time_s, np.array([1.0]))
    neutral.settle()
    assert (neutral.offset(0), neutral.offset(1)) == (pytest.approx(3.0), pytest.approx(1.0))


def test_memory_holds_the_faces_that_are_there() -> None:
    neutral = NeutralFaces(2.0, 1)
    for number in range(50):
        for step in range(20):
            neutral.add(number, 2 * number + step / 10, np.array([1.0]))
        neutral.settle(2 * number + 2.0)
        assert len(neutral._counts) <= (GONE_S + 4) / 2
    neutral.settle()
    assert [float(neutral.offset(number)[0]) for number in range(50)] == [pytest.approx(1.0)] * 50
