"""Gates: what they read, what they let through, and what they say."""

from __future__ import annotations

import pytest

from emo_edge.errors import InputError
from emo_edge.metrics.gates import EXACT_AGREEMENT, GATES, GRAPH_SIMILARITY, INT8_GATE, Gate, profile_gate

GOOD = {"label_agreement": 0.995, "uar_delta_low": -0.005, "kl_mean": 0.01}


def test_every_bound_must_hold() -> None:
    gate = GATES["balanced"]
    assert gate.failures(GOOD) == []
    assert gate.failures({**GOOD, "label_agreement": 0.98, "kl_mean": 0.5}) == [
        "label_agreement 0.98, the gate is agreement>=0.99",
        "kl_mean 0.5, the gate is kl<=0.02",
    ]
    assert gate.failures({**GOOD, "uar_delta_low": -0.02}) == ["uar_delta_low -0.02, the gate is uar>=-0.01"]


def test_a_figure_that_is_not_a_number_is_a_miss() -> None:
    assert len(GATES["balanced"].failures({**GOOD, "kl_mean": float("nan")})) == 1


def test_without_truth_only_what_is_known_is_judged() -> None:
    assert GATES["balanced"].failures({"label_agreement": 1.0, "kl_mean": 0.0}) == []


def test_a_bound_that_is_not_asked_for_is_taken_from_the_default() -> None:
    gate = Gate.parse("agreement>=0.9")
    assert str(gate.with_default(INT8_GATE, "cosine")) == "agreement>=0.9,cosine>=0.99"
    own = Gate.parse("cosine>=0.5")
    assert own.with_default(INT8_GATE, "cosine") == own


def test_what_the_evidence_cannot_tell_is_named() -> None:
    assert Gate.parse("uar>=-0.01,kl<=1,cues>=0.9").missing({"kl_mean": 0.0}) == ["uar", "cues"]


@pytest.mark.parametrize("text", [str(gate) for gate in GATES.values()] + ["kl95<=1e-3", " f1>=-0.5 , war>=-.1"])
def test_a_gate_is_read_as_it_is_written(text: str) -> None:
    assert str(Gate.parse(str(Gate.parse(text)))) == str(Gate.parse(text))


@pytest.mark.parametrize("text", ["", "agreement", "agreement>0.9", "speed>=2", "kl<=x", "kl<=0.1,"])
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"a gate reads like agreement>=0\.99"):
        Gate.parse(text)


def test_a_profile_without_a_gate_of_its_name_has_the_widest_one() -> None:
    assert profile_gate("balanced") == GATES["balanced"]
    assert profile_gate("mixed") == GATES["small"]


def test_gates_of_one_figure_agree() -> None:
    assert [bound.value for bound in INT8_GATE.bounds if bound.word == "cosine"] == [GRAPH_SIMILARITY["int8"]]
    assert [bound.value for bound in GATES["exact"].bounds if bound.word == "agreement"] == [EXACT_AGREEMENT]
