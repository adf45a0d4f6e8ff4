"""Filters of labels over time against the same arithmetic written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emo_edge.bundle.sections import LabelFilter
from emo_edge.inference.live.label_filters import open_filter
from emo_edge.inference.live.smoothing import ExpressionTrack, LabelSmoothing

READINGS = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.1, 0.8, 0.1]])
MARKOV = LabelFilter(method="hidden_markov", tau_s=0.5, alpha=0.8, step_s=0.1)
AVERAGE = LabelFilter(method="exponential_average", tau_s=0.5, alpha=0.8)


def filtered(settings: LabelFilter, readings: Any, times: list[float]) -> Any:
    track = open_filter(settings)
    return np.array([track.add(row, at_s) for row, at_s in zip(readings, times, strict=True)])


def test_a_hidden_markov_model_is_the_forward_recursion() -> None:
    belief = READINGS[0] ** 0.8 / (READINGS[0] ** 0.8).sum()
    wanted = [belief]
    for passed_s, reading in ((0.1, READINGS[1]), (0.4, READINGS[2])):
        stay = math.exp(-passed_s / 0.5)
        moves = np.full((3, 3), (1 - stay) / 2) + np.eye(3) * (stay - (1 - stay) / 2)
        belief = (belief @ moves) * reading**0.8
        belief = belief / belief.sum()
        wanted.append(belief)
    np.testing.assert_allclose(filtered(MARKOV, READINGS, [1.0, 1.1, 1.5]), wanted, atol=1e-12)


def test_an_exponential_average_follows_the_seconds() -> None:
    sharp = READINGS**0.8 / (READINGS**0.8).sum(1, keepdims=True)
    second = sharp[0] + (1 - math.exp(-0.2)) * (sharp[1] - sharp[0])
    third = second + (1 - math.exp(-0.8)) * (sharp[2] - second)
    found = filtered(AVERAGE, READINGS, [1.0, 1.1, 1.5])
    np.testing.assert_allclose(found, [sharp[0], second, third], atol=1e-12)


def test_more_frames_a_second_make_no_surer_labels() -> None:
    reading = np.array([0.5, 0.3, 0.2])
    slow, fast = (
        filtered(MARKOV, [reading] * count, [index / rate for index in range(count)])
        for count, rate in ((11, 10), (61, 60))
    )
    assert 0.65 < fast[-1, 0] <= slow[-1, 0] < 0.75


@pytest.mark.parametrize("settings", [MARKOV, AVERAGE])
def test_a_certain_reading_and_a_clock_set_back_do_no_harm(settings: LabelFilter) -> None:
    found = filtered(settings, [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [5.0, 4.0, 5.4])
    assert np.isfinite(found).all() and found.sum(1) == pytest.approx(1)
    assert found[-1, 1] > 0.5


def changes(track: ExpressionTrack, levels: list[float]) -> list[tuple[str, str, float]]:
    return [
        (one.change, one.label, round(one.seconds, 3))
        for index, level in enumerate(levels)
        for one in track.add({"neutral": 1 - level, "joy": level}, index / 10)
    ]


def test_an_expression_has_an_onset_an_apex_and_an_offset() -> None:
    found = changes(ExpressionTrack(), [0.1, 0.5, 0.6, 0.9, 0.999, 1.0, 0.995, 0.7, 0.45, 0.3, 0.1])
    assert found == [("onset", "joy", 0.2), ("apex", "joy", 0.5), ("offset", "joy", 0.9)]


def test_a_label_that_trembles_between_both_limits_is_no_new_expression() -> None:
    assert changes(ExpressionTrack(), [0.1, 0.59, 0.1, 0.61, 0.45, 0.58, 0.45, 0.61]) == [("onset", "joy", 0.3)]


def test_one_expression_after_another_ends_the_first() -> None:
    track = ExpressionTrack()
    track.add({"joy": 0.9, "fear": 0.1}, 1.0)
    assert [(one.change, one.label) for one in track.add({"joy": 0.1, "fear": 0.9}, 1.1)] == [
        ("apex", "joy"),
        ("offset", "joy"),
        ("onset", "fear"),
    ]


def test_a_lost_face_ends_its_expression_and_one_without_settings_has_none() -> None:
    smoothing = LabelSmoothing(MARKOV)
    assert [one.change for one in smoothing.add(3, {"neutral": 0.05, "joy": 0.95}, 2.0)] == ["onset"]
    assert smoothing.of(3)["joy"] > 0.9 and smoothing.of(4) == {}
    assert [(one.change, one.seconds) for one in smoothing.drop(3)] == [("apex", 2.0), ("offset", 2.0)]
    assert smoothing.of(3) == {} and not smoothing.drop(3)
    none = LabelSmoothing(None)
    assert not none.add(1, {"neutral": 0.1, "joy": 0.9}, 1.0) and none.of(1) == {}


def test_the_end_of_a_lost_face_has_the_probability_of_its_own_expression() -> None:
    track = ExpressionTrack()
    assert [one.change for one in track.add({"happiness": 0.7, "anger": 0.3}, 1.0)] == ["onset"]
    apex, offset = track.end(2.0, {"happiness": 0.45, "anger": 0.55})
    assert (apex.change, offset.change, offset.label, offset.probability) == ("apex", "offset", "happiness", 0.45)
