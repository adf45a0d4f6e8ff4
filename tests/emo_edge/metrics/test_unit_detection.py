"""Detection of units against loops that count frame by frame, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from emo_edge.metrics.unit_detection import (
    auc_of_histogram,
    calibration_sums,
    coarse_histograms,
    detection_counts,
    error_of_calibration,
    f1_of_counts,
    mean_of_defined,
    roc_auc,
    score_histograms,
)

RNG = np.random.default_rng(5)
TRUTH = np.where(RNG.random((400, 3)) < 0.15, np.nan, RNG.random((400, 3)) < [0.4, 0.1, 0.5])
ACTIVE = RNG.random((400, 3)) < 0.4


def literal_f1(truth: list[float], active: list[bool]) -> float:
    """Precision and recall of the frames whose label is known, one by one."""
    known = [(label == 1, own) for label, own in zip(truth, active, strict=True) if not math.isnan(label)]
    hits = sum(label and own for label, own in known)
    precision = hits / sum(own for _, own in known)
    recall = hits / sum(label for label, _ in known)
    return 2 * precision * recall / (precision + recall)


def test_f1_is_the_harmonic_mean_of_precision_and_recall_of_known_labels() -> None:
    wanted = [literal_f1(TRUTH[:, unit].tolist(), ACTIVE[:, unit].tolist()) for unit in range(3)]
    assert f1_of_counts(detection_counts(TRUTH, ACTIVE)).tolist() == pytest.approx(wanted)


def test_missing_labels_count_neither_as_active_nor_as_inactive() -> None:
    known = ~np.isnan(TRUTH[:, 0])
    alone = detection_counts(TRUTH[known, :1], ACTIVE[known, :1])
    np.testing.assert_array_equal(detection_counts(TRUTH[:, :1], ACTIVE[:, :1]), alone)
    as_zero = detection_counts(np.nan_to_num(TRUTH[:, :1]), ACTIVE[:, :1])
    assert as_zero[0, 1] > alone[0, 1], "a missing label that counts as 0 would make false alarms"


def test_counts_of_parts_add_up() -> None:
    parts = detection_counts(TRUTH[:150], ACTIVE[:150]) + detection_counts(TRUTH[150:], ACTIVE[150:])
    np.testing.assert_array_equal(parts, detection_counts(TRUTH, ACTIVE))


def test_a_unit_that_is_nowhere_has_no_f1() -> None:
    counts = detection_counts(np.zeros((5, 2)), np.array([[False, True]] * 5))
    f1 = f1_of_counts(counts)
    assert math.isnan(f1[0]) and f1[1] == 0
    assert mean_of_defined(f1) == 0 and math.isnan(mean_of_defined(f1[:1]))


def test_auc_is_the_one_of_mann_and_whitney_with_ties() -> None:
    scores = np.round(RNG.random(400) + 0.3 * np.nan_to_num(TRUTH[:, 0]), 1)
    scores[:7] = np.nan
    known = ~np.isnan(TRUTH[:, 0]) & ~np.isnan(scores)
    active, inactive = (scores[known & (TRUTH[:, 0] == label)] for label in (1, 0))
    wanted = stats.mannwhitneyu(active, inactive).statistic / (len(active) * len(inactive))
    assert roc_auc(TRUTH[:, 0], scores) == pytest.approx(wanted)
    assert roc_auc([1, 1, 0], [3.0, 2.0, 1.0]) == 1 and roc_auc([1, 0], [0.5, 0.5]) == 0.5
    assert math.isnan(roc_auc([1, 1], [0.1, 0.2])) and math.isnan(roc_auc([], []))


def test_histograms_of_subjects_add_up_to_that_of_all() -> None:
    scores = np.round(RNG.random(400), 2)
    histograms = score_histograms([TRUTH[:100, 1], TRUTH[100:, 1]], [scores[:100], scores[100:]])
    assert auc_of_histogram(histograms.sum(0)) == pytest.approx(roc_auc(TRUTH[:, 1], scores))


def test_few_scores_stay_and_many_are_taken_together_without_moving_the_area() -> None:
    scores = RNG.random(400) + 0.3 * np.nan_to_num(TRUTH[:, 2])
    histograms = score_histograms([TRUTH[:100, 2], TRUTH[100:, 2]], [scores[:100], scores[100:]])
    assert coarse_histograms(histograms) is histograms
    coarse = coarse_histograms(histograms, 50)
    assert coarse.shape == (2, 2, 50) and (coarse.sum(-1) == histograms.sum(-1)).all()
    assert auc_of_histogram(coarse.sum(0)) == pytest.approx(auc_of_histogram(histograms.sum(0)), abs=2e-3)


def test_calibration_error_of_a_unit_is_the_one_counted_bin_by_bin() -> None:
    given = RNG.random(400)
    given[3] = np.nan
    total, distance = 0, 0.0
    for number in range(15):
        rows = [
            row for row in range(400) if number / 15 < given[row] <= (number + 1) / 15 and not math.isnan(TRUTH[row, 0])
        ]
        total += len(rows)
        if rows:
            distance += len(rows) * abs(float(np.mean(given[rows])) - float(np.mean(TRUTH[rows, 0])))
    assert error_of_calibration(calibration_sums(TRUTH[:, 0], given)) == pytest.approx(distance / total)


def test_calibration_at_the_ends() -> None:
    assert error_of_calibration(calibration_sums([0, 1, np.nan], [0.0, 1.0, 0.7])) == 0
    assert error_of_calibration(calibration_sums([1, 0], [0.0, 1.0])) == 1
    assert math.isnan(error_of_calibration(calibration_sums([np.nan], [0.5])))
