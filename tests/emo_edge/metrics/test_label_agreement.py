"""Evidence on labels against scipy, scikit-learn's definitions and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.metrics.label_agreement import cue_evidence, kl_divergence, label_distance, label_evidence

BEFORE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]])
AFTER = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.2, 0.5], [0.4, 0.5, 0.1]])


def test_divergence_is_the_sum_of_p_log_p_over_q() -> None:
    expected = 0.7 * np.log(7 / 6) + 0.2 * np.log(2 / 3)
    assert kl_divergence(BEFORE, AFTER)[0] == pytest.approx(expected)
    assert kl_divergence(BEFORE, BEFORE).max() == 0


def test_a_probability_of_nothing_is_no_infinity() -> None:
    assert np.isfinite(kl_divergence(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))).all()


def test_figures_worked_out_by_hand() -> None:
    found = label_evidence(BEFORE, AFTER, [0, 1, 2, 0])
    assert found["label_agreement"] == 0.75
    assert found["max_probability_error"] == pytest.approx(0.1)
    assert (found["war"], found["war_delta"]) == (0.75, -0.25)
    # Class 0 is right once of two, the others always.
    assert found["uar"] == pytest.approx((0.5 + 1 + 1) / 3)
    # F1: class 0 2/3, class 1 2/3 (one false alarm), class 2 1.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["mcnemar_p"] == 1.0, "one change can go either way"
    assert found["uar_delta_low"] <= found["uar_delta"] <= found["uar_delta_high"] <= 0


def test_it_agrees_with_what_export_measures() -> None:
    found = label_evidence(BEFORE, AFTER)
    assert {name: found[name] for name in label_distance(BEFORE, AFTER)} == pytest.approx(label_distance(BEFORE, AFTER))


def test_without_truth_no_accuracy_is_told() -> None:
    assert not any("uar" in name or "mcnemar" in name for name in label_evidence(BEFORE, AFTER))


def test_the_same_answers_change_nothing() -> None:
    found = label_evidence(BEFORE, BEFORE, [0, 1, 2, 0])
    assert (found["label_agreement"], found["kl_p95"], found["mcnemar_p"]) == (1, 0, 1)
    assert found["uar_delta_low"] == found["uar_delta_high"] == 0


def test_described_cues_are_set_against_full_precisions_words_and_the_truth() -> None:
    said = ["the jaw is dropped and the lips are parted", "the cheeks are pushed up", "the face is relaxed"]
    found = ["the jaw is dropped", "the cheeks are pushed up", "the nose is wrinkled"]
    measured = cue_evidence(said, found, [{25, 26}, {6, 12}, set()])
    # Hits 2; named 3 before and 3 after, 4 true.
    assert measured["cue_f1"] == pytest.approx(2 * 2 / 6)
    assert measured["cue_f1_truth"] == pytest.approx(2 * 2 / 7)
    assert measured["cue_f1_truth_delta"] == pytest.approx(4 / 7 - 6 / 7)
    assert measured["cue_samples"] == 3
    assert cue_evidence(said, said) == {"cue_f1": 1.0, "cue_samples": 3.0}


def test_a_model_that_names_no_cue_has_no_figure_of_them() -> None:
    assert cue_evidence(["calm", "a face"], ["calm", "a smile"]) == {}
    assert cue_evidence([], []) == {}


def test_the_floor_takes_rounding_below_zero_off() -> None:
    rows = np.array([[0.3, 0.7]])
    above = rows * (1 + 1e-15)
    assert kl_divergence(rows, above, floored=False)[0] < 0 == kl_divergence(rows, above)[0]
