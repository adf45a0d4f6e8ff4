"""Spotting and recognition against the published example of STRS, frame sets, and figures by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emo_edge.metrics.classification import top_k_accuracy
from emo_edge.metrics.micro_expressions import (
    apex_error,
    overlap_of_frames,
    recognition_f1,
    spot_then_recognize,
    spotted,
    spotting_f1,
)

EXAMPLE = [
    ((10, 70), "happiness", (45, 85), "happiness"),
    ((100, 170), "others", (130, 160), "others"),
    ((0, 70), "others", (20, 75), "others"),
    ((20, 90), "happiness", (45, 95), "repression"),
    ((70, 140), "happiness", (30, 140), "repression"),
]
"""Predicted and true interval and emotion of five videos, in the README of genbing99/STRS-Metric; its STRS is 0.2."""
EMOTIONS = ("happiness", "others", "repression")


def test_strs_of_the_published_example() -> None:
    confusion, hits = np.zeros((3, 4)), 0
    for predicted, named, truth, emotion in EXAMPLE:
        for _ in spotted([truth], [predicted]):
            hits += 1
            confusion[EMOTIONS.index(emotion), EMOTIONS.index(named)] += 1
    spotting, recognition = spotting_f1(hits, 5, 5), recognition_f1(confusion)
    assert (hits, spotting, recognition) == (3, pytest.approx(0.6), pytest.approx(1 / 3))
    assert spot_then_recognize(spotting, recognition) == pytest.approx(0.2)


def test_overlap_is_that_of_the_sets_of_frames() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, second = (sorted(rng.integers(0, 30, 2).tolist()) for _ in range(2))
        one, other = (set(range(start, end + 1)) for start, end in (first, second))
        wanted = len(one & other) / len(one | other)
        assert overlap_of_frames((first[0], first[1]), (second[0], second[1])) == pytest.approx(wanted)


def test_an_interval_is_matched_once() -> None:
    assert spotted([(0, 9)], [(0, 9), (1, 9)]) == [(0, 0)]
    assert spotted([(0, 9), (20, 29)], [(21, 29), (0, 8)]) == [(1, 0), (0, 1)]
    assert spotted([(0, 9)], [(5, 14)]) == [] and spotted([], [(0, 1)]) == [] and spotted([(0, 1)], []) == []


def test_labels_of_no_class_cost_recall() -> None:
    assert recognition_f1(np.array([[1.0, 0, 0], [0, 1.0, 0]])) == 1
    assert recognition_f1(np.array([[1.0, 0, 1], [0, 1.0, 0]])) == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert recognition_f1(np.array([[0.0, 1, 0], [1, 0.0, 0]])) == 0


def test_nothing_to_spot_is_no_score_and_nothing_spotted_is_0() -> None:
    assert math.isnan(spotting_f1(0, 0, 0)) and math.isnan(spot_then_recognize(math.nan, math.nan))
    assert spot_then_recognize(spotting_f1(0, 3, 2), recognition_f1(np.zeros((2, 3)))) == 0


def test_the_apex_error_leaves_out_clips_without_an_apex() -> None:
    assert apex_error([10, math.nan, 30], [13, 5, 25]) == 4
    assert math.isnan(apex_error([math.nan], [1]))


def test_top_k_counts_ranks_and_gives_nothing_to_ties() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    truth = np.array([2, 0, 0])
    ranks = [sorted(row, reverse=True).index(row[label]) for row, label in zip(scores.tolist(), truth, strict=True)]
    assert ranks[:2] == [1, 0]
    assert top_k_accuracy(truth, scores, 1) == pytest.approx(1 / 3)
    assert top_k_accuracy(truth, scores, 2) == pytest.approx(2 / 3), "the tie of the last row is no hit"
    assert top_k_accuracy(truth, scores, 3) == 1
    assert top_k_accuracy(np.zeros(4, int), np.ones((4, 6)), 5) == 0
