"""The planner on real towers: what it keeps, what it writes, and the gate that nobody can meet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from emo_edge.calibration.int8.graph_files import GraphRun, load_graph
from emo_edge.calibration.int8.plan import Gate, planned_int8
from emo_edge.calibration.int8.ranges import ActivationRanges, gather_ranges
from emo_edge.calibration.int8.sensitivity import BlockCost, Measured, Trials, block_costs
from emo_edge.errors import AccuracyGateError, CheckpointError, InputError
from emo_edge.metrics.tensor_parity import smallest_cosine


@pytest.fixture(scope="module")
def tower(write_tower: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tower(tmp_path_factory.mktemp("towers") / "tower.onnx", depth=6, massive=4)


@pytest.fixture(scope="module")
def ranges(tower: Path, tower_feeds: Any) -> ActivationRanges:
    return gather_ranges(tower, tower_feeds(32), threads=1)


@pytest.fixture(scope="module")
def trials(tower: Path, ranges: ActivationRanges, tower_feeds: Any, judge_like: Any) -> Trials:
    feeds = tower_feeds(24, seed=5)
    reference = np.concatenate([GraphRun(load_graph(tower), tower.parent, 1).run(feed)["features"] for feed in feeds])
    return Trials(tower, ranges.thresholds("max"), feeds, judge_like(reference), threads=1)


@pytest.fixture(scope="module")
def costs(trials: Trials, ranges: ActivationRanges) -> list[BlockCost]:
    return block_costs(trials, ranges.peaks())


def cosine_gate(trials: Trials, least: float) -> Gate:
    def gate(outputs: Any) -> list[str]:
        cosine = smallest_cosine(trials.reference["features"], outputs["features"])
        return [] if cosine >= least else [f"features: cosine {cosine:.6f}, the gate is {least}"]

    return gate


def test_a_gate_that_holds_at_once_keeps_only_the_massive_block(
    trials: Trials, costs: list[BlockCost], tmp_path: Path
) -> None:
    plan = planned_int8(trials, costs, lambda outputs: [], tmp_path / "a.onnx", rounds=3)
    (kept,) = plan.kept
    assert (kept.block, kept.nodes) == ("blocks.4", ("up_4", "down_4"))
    assert re.fullmatch(r"massive activations, up to 90\d\.?\d*; alone in INT8: cosine 0\.\d+, .*", kept.reason)
    assert plan.quantized == tuple(node for node in trials.nodes if node not in kept.nodes)
    assert len(plan.steps) == 1
    assert plan.bytes_before == trials.source.stat().st_size
    assert plan.bytes_after == (tmp_path / "a.onnx").stat().st_size < plan.bytes_before
    assert plan.speed is not None
    assert len(plan.speed.candidate_ms) == 3
    said = json.loads(json.dumps(plan.as_json()))
    assert said["bytes_saved"] == plan.bytes_before - plan.bytes_after
    assert said["kept"][0]["block"] == "blocks.4"
    assert said["speed"]["verdict"].startswith(("slower here", "faster here", "hardly faster here"))


def test_the_fewest_of_the_most_sensitive_blocks_are_kept(
    trials: Trials, costs: list[BlockCost], tmp_path: Path
) -> None:
    order = sorted(costs, key=lambda cost: not cost.massive)
    reached = []
    for count in range(1, len(order)):
        keep = [node for cost in order[:count] for node in cost.nodes]
        reached.append(trials.measured(trials.outputs(keep)).cosine)
    assert reached == sorted(reached)
    for count, least in enumerate(reached, start=1):
        gate = cosine_gate(trials, least)
        plan = planned_int8(trials, costs, gate, tmp_path / f"{count}.onnx", rounds=0)
        assert [block.block for block in plan.kept] == [cost.block for cost in order[:count]]
        assert plan.measured.cosine == least
        assert plan.speed is None
        assert all(bool(step.failures) == (step.measured.cosine < least) for step in plan.steps)
        written = onnx.load(tmp_path / f"{count}.onnx")
        weights = {tensor.name for tensor in written.graph.initializer if "_int8_" not in tensor.name}
        assert {f"{block.block}.up.weight" for block in plan.kept} <= weights
    assert plan.kept[1].reason.startswith("among the most sensitive blocks; alone in INT8: cosine 0.99")


def test_a_gate_nobody_can_meet_names_the_best_reached(trials: Trials, costs: list[BlockCost], tmp_path: Path) -> None:
    message = (
        r"no INT8 form of tower\.onnx holds the gate: the best one keeps 5 of 6 blocks, has cosine 0\.9999\d and label "
        r"agreement \d\.\d{4}, and fails: features: cosine 0\.9999\d+, the gate is 1\.1\. Calibrate with more samples"
    )
    with pytest.raises(AccuracyGateError, match=message) as caught:
        planned_int8(trials, costs, cosine_gate(trials, 1.1), tmp_path / "a.onnx")
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def with_massive(costs: Sequence[BlockCost], massive: bool) -> list[BlockCost]:
    return [BlockCost(cost.block, cost.nodes, cost.peak, massive, Measured(0.9, 0.9, 1.0)) for cost in costs]


def test_towers_all_massive_nothing_to_plan_and_a_target_that_is_there(
    trials: Trials, costs: list[BlockCost], tmp_path: Path
) -> None:
    target = tmp_path / "a.onnx"
    with pytest.raises(AccuracyGateError, match="every block holds massive activations, so none can be INT8: use fp16"):
        planned_int8(trials, with_massive(costs, True), lambda outputs: [], target)
    with pytest.raises(InputError, match="no block to plan for"):
        planned_int8(trials, [], lambda outputs: [], target)
    target.write_text("mine")

    def unreached(outputs: Any) -> list[str]:
        raise AssertionError("slow work before the refusal")

    with pytest.raises(CheckpointError, match=r"a\.onnx: already exists"):
        planned_int8(trials, costs, unreached, target)
