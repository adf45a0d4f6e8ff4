"""The distances and gates, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emo_edge.metrics.gates import exact_failures, graph_failures
from emo_edge.metrics.label_agreement import label_distance
from emo_edge.metrics.tensor_parity import cosine, distances, similarity, tensor_distance


def test_tensor_distance_is_its_definition() -> None:
    true = np.array([[3.0, 4.0], [0.0, 2.0]])
    found = np.array([[3.0, 5.0], [0.0, 2.0]])
    assert tensor_distance(true, found) == pytest.approx(
        {
            "max_error": 1.0,
            "mean_error": 0.25,
            "relative_error": 0.25,
            "cosine": (9 + 20) / (5 * math.sqrt(34)),
        }
    )


def test_the_worst_sample_gives_the_cosine() -> None:
    true = np.ones((3, 4))
    found = true.copy()
    found[1] = -1
    assert tensor_distance(true, found)["cosine"] == pytest.approx(-1)


def test_values_next_to_zero_in_one_sample_are_compared_over_all() -> None:
    true, found = np.array([[0.6, 0.8], [0.0, 0.001]]), np.array([[0.6, 0.8], [0.001, 0.0]])
    over_all = 1 / (1 + 1e-6)
    measured = distances({"values": true, "logits": true}, {"values": found, "logits": found})
    assert measured["values"]["cosine"] == pytest.approx(over_all) and measured["logits"]["cosine"] == 0
    assert measured["values"]["max_error"] == pytest.approx(0.001)
    alike = similarity({"values": true, "logits": true}, {"values": found, "logits": found})
    assert alike == {"values": pytest.approx(over_all), "logits": 0}


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        tensor_distance(np.ones((2, 3)), np.ones((2, 1)))


def test_label_distance_is_its_definition() -> None:
    true = np.array([[0.5, 0.5 - 1e-9, 1e-9], [0.1, 0.8, 0.1]])
    found = np.array([[0.25, 0.75 - 1e-9, 1e-9], [0.1, 0.8, 0.1]])
    row = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    assert label_distance(true, found) == pytest.approx(
        {
            "label_agreement": 0.5,
            "kl_mean": row / 2,
            "kl_max": row,
            "max_probability_error": 0.25,
            "samples": 2,
        },
        rel=1e-6,
    )


def test_equal_distributions_are_at_no_distance() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 20)
    measured = label_distance(rows, rows)
    assert measured["kl_max"] == 0 and measured["label_agreement"] == 1
    assert exact_failures(measured) == []


@pytest.mark.parametrize(
    ("precision", "error", "failing"),
    [("fp32", 5e-5, False), ("fp32", 2e-4, True), ("fp16", 2e-4, False), ("fp16", 0.2, True)],
)
def test_the_gates_name_the_output_and_by_how_much(precision: str, error: float, failing: bool) -> None:
    true = np.random.default_rng(1).normal(size=(4, 8))
    true[0, 0] = 4.0
    spoilt = true.copy()
    spoilt[0] += error * 4 * np.array([1, -1] * 4)
    failures = graph_failures(precision, distances({"good": true, "pose": true}, {"good": true, "pose": spoilt}))
    assert len(failures) == failing
    if failing:
        assert failures[0].startswith("pose: ") and "the gate is" in failures[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_misses_every_gate(value: float) -> None:
    true = np.ones((2, 2))
    spoilt = true.copy()
    spoilt[0, 0] = value
    with np.errstate(invalid="ignore"):
        measured = distances({"out": true}, {"out": spoilt})
    assert graph_failures("fp32", measured)
    assert graph_failures("fp16", measured)


def test_an_inexact_profile_says_why() -> None:
    measured = {"label_agreement": 0.99, "max_probability_error": 0.02, "kl_mean": 0.0}
    assert exact_failures(measured) == [
        "label agreement 0.9900, the gate is 0.995",
        "probability error 0.0200, the gate is 0.01",
    ]


def test_the_cosine_of_zeros_is_the_callers() -> None:
    zeros, ones = np.zeros(3), np.ones(3)
    assert [cosine(zeros, zeros), cosine(zeros, zeros, of_zeros=0.0), cosine(ones, zeros)] == [1.0, 0.0, 0.0]
    assert cosine(ones, 2 * ones) == pytest.approx(1)
