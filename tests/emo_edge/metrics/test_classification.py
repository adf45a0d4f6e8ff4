"""Accuracy figures against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.metrics import classification

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 0, 0, 2])


def test_weighted_recall_counts_samples() -> None:
    assert classification.war(TRUTH, PREDICTED) == 5 / 8


def test_unweighted_recall_counts_classes() -> None:
    assert classification.uar(TRUTH, PREDICTED) == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)


def test_unweighted_recall_ignores_classes_that_are_only_predicted() -> None:
    assert classification.uar(np.array([0, 0]), np.array([0, 5])) == 0.5


def test_one_class_predicted_always_is_chance() -> None:
    truth = np.repeat(np.arange(4), [70, 10, 10, 10])
    assert classification.war(truth, np.zeros(100, int)) == 0.7
    assert classification.uar(truth, np.zeros(100, int)) == 0.25


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [
        # R: prop.test(x, n, correct=FALSE); Newcombe 1998, table I.
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0 / 20, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
        (1.0, 20, 0.8389, 1.0),
    ],
)
def test_wilson_interval_is_newcombes(share: float, count: int, low: float, high: float) -> None:
    assert classification.wilson_interval(share, count) == pytest.approx((low, high), abs=6e-5)


@given(count=st.integers(1, 10**6), data=st.data())
def test_wilson_interval_holds_the_share(count: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, count)) / count
    low, high = classification.wilson_interval(share, count)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1
    assert low < high


def test_the_bootstrap_surrounds_the_figure_and_repeats() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 400)
    predicted = np.where(rng.random(400) < 0.8, truth, rng.integers(0, 7, 400))
    low, high = classification.bootstrap_interval(truth, predicted, resamples=300)
    assert low < classification.uar(truth, predicted) < high
    assert 0.04 < high - low < 0.14
    assert classification.bootstrap_interval(truth, predicted, resamples=300) == (low, high)
    assert classification.bootstrap_interval(truth, predicted, seed=1, resamples=300) != (low, high)


def test_the_bootstrap_of_certainty_is_a_point() -> None:
    assert classification.bootstrap_interval(TRUTH, TRUTH, resamples=50) == (1.0, 1.0)


def test_landmark_error_is_a_share_of_the_outer_eye_distance() -> None:
    truth = np.zeros((2, 68, 2))
    truth[:, 45] = (30.0, 40.0)  # 50 from point 36
    predicted = truth.copy()
    predicted[0] += (3.0, 4.0)  # every point off by 5
    predicted[1, 0] += (0.0, 68.0)  # one point of 68 off by 68: one on average
    assert classification.normalised_mean_error(predicted, truth).tolist() == pytest.approx([5 / 50, 1 / 50])


def test_landmark_error_reads_the_outer_corners() -> None:
    truth = np.random.default_rng(0).normal(size=(1, 68, 2))
    truth[0, 36], truth[0, 45] = (0.0, 0.0), (8.0, 0.0)
    assert classification.normalised_mean_error(truth + np.array([2.0, 0.0]), truth).tolist() == pytest.approx([0.25])


def test_micro_f1_pools_all_pairs() -> None:
    truth: list[set[int]] = [{1, 2, 4}, {12}, set()]
    predicted: list[set[int]] = [{1, 2}, {12, 6, 25}, {4}]
    # 3 hits among 4 true and 6 predicted.
    assert classification.micro_f1(truth, predicted) == pytest.approx(2 * 3 / 10)


def test_micro_f1_of_nothing_said_about_nothing_is_one() -> None:
    assert classification.micro_f1([[], []], [[], []]) == 1.0
    assert classification.micro_f1([[1]], [[]]) == 0.0
    with pytest.raises(ValueError, match="zip"):
        classification.micro_f1([[1]], [[1], [2]])


def test_confusion_counts_truth_by_prediction() -> None:
    assert classification.confusion(TRUTH, PREDICTED, 3).tolist() == [[3, 1, 0], [1, 1, 0], [1, 0, 1]]


def test_mean_iou_is_over_classes_of_the_truth() -> None:
    counts = classification.confusion(TRUTH, PREDICTED, 3)
    # Class 0: 3 of 4 + 5 - 3; class 1: 1 of 2 + 2 - 1; class 2: 1 of 2 + 1 - 1.
    assert classification.mean_iou(counts) == pytest.approx((3 / 6 + 1 / 3 + 1 / 2) / 3)
    wider = classification.confusion(np.array([0, 0]), np.array([0, 3]), 5)
    assert classification.mean_iou(wider) == pytest.approx(0.5)


def test_figures_are_plain_floats() -> None:
    assert type(classification.war(TRUTH, PREDICTED)) is float
    assert type(classification.uar(TRUTH, PREDICTED)) is float
    assert type(classification.mean_iou(classification.confusion(TRUTH, PREDICTED, 3))) is float


def test_macro_f1_is_the_mean_over_classes() -> None:
    # By hand: class 0 hits 3 of 4 true and 5 said, class 1 1 of 2 and 2, class 2 1 of 2 and 1.
    assert classification.macro_f1(TRUTH, PREDICTED) == pytest.approx((6 / 9 + 2 / 4 + 2 / 3) / 3)


@pytest.mark.parametrize(("lost", "won", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 1, 0.125), (9, 9, 1.0)])
def test_mcnemar_is_the_exact_binomial(lost: int, won: int, p: float) -> None:
    # R: binom.test(min(lost, won), lost + won)$p.value
    truth = np.zeros(40, int)
    before, after = truth.copy(), truth.copy()
    after[:lost] = 1
    before[lost : lost + won] = 1
    assert classification.mcnemar_p(truth, before, after) == pytest.approx(p)


def test_a_paired_interval_is_narrower_than_what_both_scatter() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 1000)
    before = np.where(rng.random(1000) < 0.9, truth, (truth + 1) % 7)
    after = before.copy()
    after[:20] = (before[:20] + 1) % 7
    low, high = classification.paired_interval(classification.uar, truth, before, after)
    change = classification.uar(truth, after) - classification.uar(truth, before)
    assert low < change < high < 0
    spread = np.subtract(*classification.bootstrap_interval(truth, after)[::-1])
    assert high - low < 0.7 * spread
