"""Decisions on action units that stay, and the gates that ask for them."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.metrics.gates import INT8_UNITS_GATE, UNIT_AGREEMENT, Gate, unit_failures
from emo_edge.metrics.unit_agreement import unit_agreement

THRESHOLDS = (0.5, 0.2)
LIMIT = float(np.log(0.2 / 0.8))


def test_each_unit_is_decided_by_its_own_threshold() -> None:
    reference = np.array([[0.1, LIMIT + 0.1], [-0.1, LIMIT - 0.1]], np.float32)
    same = unit_agreement(reference, reference + 0.05, THRESHOLDS)
    assert same == {"au_agreement": 1.0, "au_agreement_worst": 1.0, "samples": 2.0}
    moved = reference + np.array([[0.0, 0.0], [0.0, 0.2]], np.float32)
    assert unit_agreement(reference, moved, THRESHOLDS) == {
        "au_agreement": 0.75,
        "au_agreement_worst": 0.5,
        "samples": 2.0,
    }


def test_a_value_that_is_not_finite_agrees_with_nothing() -> None:
    reference = np.full((2, 2), 5.0, np.float32)
    assert unit_agreement(reference, np.array([[np.inf, 5.0], [np.nan, 5.0]]), THRESHOLDS)["au_agreement"] == 0.5


@pytest.mark.parametrize(("agreement", "holds"), [(1.0, True), (UNIT_AGREEMENT, True), (0.9949, False)])
def test_an_exported_graph_leaves_decisions_as_they_are(agreement: float, holds: bool) -> None:
    assert (unit_failures({"au_agreement": agreement}) == []) == holds


def test_a_gate_reads_the_agreement_of_action_units() -> None:
    gate = Gate.parse("agreement>=0.9,au-agreement>=0.98")
    assert str(gate) == "agreement>=0.9,au-agreement>=0.98"
    assert gate.failures({"au_agreement": 0.97}) == ["au_agreement 0.97, the gate is au-agreement>=0.98"]
    assert gate.with_default(INT8_UNITS_GATE, "au-agreement") == gate
    assert gate.missing({"label_agreement": 1.0}) == ["au-agreement"]
