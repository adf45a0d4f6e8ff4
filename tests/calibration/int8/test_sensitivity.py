"""The costs of blocks on a tower with one massive activation, and the measures themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.calibration.int8.ranges import ActivationRanges, gather_ranges
from emo_edge.calibration.int8.sensitivity import (
    MASSIVE_RATIO,
    Trials,
    block_costs,
    block_peaks,
    massive_blocks,
    method_costs,
)
from emo_edge.errors import InputError
from emo_edge.metrics.tensor_parity import centred_cosine, smallest_cosine


@pytest.fixture(scope="module")
def tower(write_tower: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tower(tmp_path_factory.mktemp("towers") / "tower.onnx", massive=2)


@pytest.fixture(scope="module")
def ranges(tower: Path, tower_feeds: Any) -> ActivationRanges:
    return gather_ranges(tower, tower_feeds(32), threads=1)


@pytest.fixture(scope="module")
def trials(tower: Path, ranges: ActivationRanges, tower_feeds: Any) -> Trials:
    return Trials(tower, ranges.thresholds("max"), tower_feeds(24, seed=5), lambda outputs: 0.5, threads=1)


def test_the_block_of_a_massive_activation_is_found_and_the_most_sensitive(
    trials: Trials, ranges: ActivationRanges
) -> None:
    heard = []
    costs = block_costs(trials, ranges.peaks(), progress=lambda done, of: heard.append((done, of)))
    assert [cost.block for cost in costs if cost.massive] == ["blocks.2"] == [costs[0].block]
    assert costs[0].nodes == ("up_2", "down_2")
    assert costs[0].peak == pytest.approx(900, rel=0.01)
    assert sorted(cost.block for cost in costs) == [f"blocks.{place}" for place in range(4)]
    assert [cost.measured.overall for cost in costs] == sorted(cost.measured.overall for cost in costs)
    assert all(cost.measured.cosine <= cost.measured.overall for cost in costs)
    assert costs[0].measured.cosine < 0.999 < costs[1].measured.cosine < 1
    assert {cost.measured.agreement for cost in costs} == {0.5}
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_each_product_can_be_looked_at_alone(trials: Trials, ranges: ActivationRanges) -> None:
    costs = block_costs(trials, ranges.peaks(), grouped={node: [node] for node in trials.nodes})
    assert costs[0].block == "down_2"
    assert costs[0].massive
    assert len(costs) == 8


def test_methods_are_told_apart_and_the_trials_left_as_they_were(trials: Trials, ranges: ActivationRanges) -> None:
    before = dict(trials.thresholds)
    found = method_costs(trials, ranges.thresholds)
    assert set(found) == {"max", "percentile", "entropy", "mse"}
    overall = [cost.overall for cost in found.values()]
    assert overall == sorted(overall, reverse=True)
    assert found["max"] == trials.measured(trials.outputs(()))
    assert trials.thresholds == before


def test_nothing_in_int8_is_the_original(trials: Trials) -> None:
    outputs = trials.outputs(trials.nodes)
    assert np.array_equal(outputs["features"], trials.reference["features"])
    assert trials.measured(outputs).cosine == pytest.approx(1)
    assert outputs["features"].shape == (24, 9, 32)


def test_massive_is_told_from_the_median_block() -> None:
    assert massive_blocks({"a": 1.0, "b": 2.0, "c": 2.0 * MASSIVE_RATIO}) == set()
    assert massive_blocks({"a": 1.0, "b": 2.0, "c": 2.1 * MASSIVE_RATIO}) == {"c"}
    assert massive_blocks({}) == massive_blocks({"a": 1e9}) == massive_blocks({"a": 0.0, "b": 0.0}) == set()


def test_a_sample_next_to_zero_counts_in_the_smallest_cosine_alone(trials: Trials) -> None:
    near = trials.reference["features"].copy()
    near[3] *= 1e-6
    judged = copy.copy(trials)
    judged.reference = {"features": near}
    turned = near.copy()
    turned[3] *= -1
    found = judged.measured({"features": turned})
    assert found.cosine == pytest.approx(-1)
    assert found.overall == pytest.approx(1)


def test_a_block_without_ranges_or_products_is_refused(tower: Path, ranges: ActivationRanges) -> None:
    with pytest.raises(InputError, match="activation gelu_1: has no range"):
        block_peaks(tower, {name: 1.0 for name in ranges.peaks() if name != "gelu_1"}, {"blocks.0": ["up_0"]})
    with pytest.raises(InputError, match=r"nothing: no matmul of tower\.onnx"):
        block_peaks(tower, ranges.peaks(), {"blocks.0": ["up_0", "nothing"]})


def test_no_samples_and_a_broken_original_are_refused(tower: Path, ranges: ActivationRanges, tower_feeds: Any) -> None:
    with pytest.raises(InputError, match="no sample to measure INT8 with"):
        Trials(tower, ranges.thresholds("max"), [], lambda outputs: 1.0)
    feeds = tower_feeds(8)
    feeds[0]["x"][3] = np.nan
    with pytest.raises(InputError, match=r"tower\.onnx: output features is not finite before quantization"):
        Trials(tower, ranges.thresholds("max"), feeds, lambda outputs: 1.0)


def test_cosine_is_that_of_the_worst_sample() -> None:
    one = np.array([[1.0, 0], [0, 2], [3, 4]])
    other = np.array([[2.0, 0], [1, 1], [3, 4]])
    assert smallest_cosine(one, other) == pytest.approx(np.sqrt(0.5))
    assert smallest_cosine(one, np.where(one == 4, np.nan, one)) == -1
    assert smallest_cosine(np.zeros((2, 3)), np.zeros((2, 3))) == 1
    assert smallest_cosine(np.zeros((1, 3)), np.ones((1, 3))) == 0


def test_what_all_samples_share_hides_no_error() -> None:
    rng = np.random.default_rng(0)
    face = 10 + rng.normal(size=(1, 68, 2))
    true = face + 0.1 * rng.normal(size=(50, 68, 2))
    found = true + 0.1 * rng.normal(size=true.shape)
    assert smallest_cosine(true, found) > 0.999
    assert centred_cosine(true, found) == pytest.approx(np.sqrt(0.5), abs=0.03), "as much noise as signal"
    assert centred_cosine(true, true) == pytest.approx(1)
    assert centred_cosine(true, face.repeat(50, 0)) == pytest.approx(0, abs=0.15), "the mean alone knows nothing"
    assert centred_cosine(np.ones((3, 2)), np.ones((3, 2))) == 1
    assert centred_cosine(true, np.full_like(true, np.nan)) == -1
