"""Evidence on labels against scipy, scikit-learn's definitions and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.calibration.label_evidence import kl_divergence, label_evidence
from emo_edge.export.parity import label_distance

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
