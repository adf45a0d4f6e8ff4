"""INT8 of the packaged emo-tiny's vision tower, end to end: ranges, the four methods, costs, plan, size, types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.graph_files import GraphRun, load_graph
from emo_edge.calibration.int8.plan import planned_int8
from emo_edge.calibration.int8.ranges import ActivationRanges, gather_ranges
from emo_edge.calibration.int8.sensitivity import Outputs, Trials, block_costs, method_costs
from emo_edge.media.crops import padded_crop
from emo_edge.metrics.tensor_parity import smallest_cosine
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import Tensor

SAMPLES = packaged_samples(140)
CALIBRATED, HELD_OUT = SAMPLES[:84], SAMPLES[84:]
GATE = 0.9999


@pytest.fixture(scope="module")
def feeds(tiny_bundle: Path) -> Callable[[Sequence[Sample]], list[dict[str, Tensor]]]:
    crops = Bundle.open(tiny_bundle).manifest.preprocessing.vision

    def made(samples: Sequence[Sample]) -> list[dict[str, Tensor]]:
        images = [
            padded_crop(sample.image, sample.box, margin=crops.margin, size=crops.size, fill=crops.fill).pixels
            for sample in samples
        ]
        return [{"image": np.stack(images[start : start + 14])} for start in range(0, len(images), 14)]

    return made


@pytest.fixture(scope="module")
def source(tiny_bundle: Path) -> Path:
    bundle = Bundle.open(tiny_bundle)
    return bundle.files(bundle.manifest.components.vision.variants["fp32"])[0]


@pytest.fixture(scope="module")
def ranges(source: Path, feeds: Any) -> ActivationRanges:
    return gather_ranges(source, feeds(CALIBRATED), threads=2)


@pytest.fixture(scope="module")
def judge(source: Path, feeds: Any) -> Callable[[Outputs], float]:
    """Share of held-out drawings whose nearest expression, by mean features, is what float32 says."""
    run = GraphRun(load_graph(source), source.parent, 2)

    def pooled(samples: Sequence[Sample]) -> Tensor:
        return np.concatenate([run.run(feed)["features"] for feed in feeds(samples)]).mean(1)

    known, names = pooled(CALIBRATED), np.array([sample.expression for sample in CALIBRATED])
    centres = np.stack([known[names == name].mean(0) for name in sorted(set(names))])

    def labels(features: Tensor) -> Tensor:
        return ((features[:, None] - centres) ** 2).sum(-1).argmin(-1)

    reference = labels(pooled(HELD_OUT))
    return lambda outputs: float((labels(outputs["features"].mean(1)) == reference).mean())


def trials_of(source: Path, ranges: ActivationRanges, method: str, feeds: Any, judge: Any) -> Trials:
    return Trials(source, ranges.thresholds(method), feeds(HELD_OUT), judge, threads=2)


def test_every_method_keeps_the_features_but_entropy_clips_what_gelu_gives(
    source: Path, ranges: ActivationRanges, feeds: Any, judge: Any
) -> None:
    found = method_costs(trials_of(source, ranges, "max", feeds, judge), ranges.thresholds)
    for method in ("max", "percentile", "mse"):
        assert 0.999 <= found[method].cosine < 1, method
        assert found[method].agreement >= 0.9, method
    assert list(found)[-1] == "entropy"
    assert 0.95 < found["entropy"].cosine < 0.99


def test_the_plan_holds_a_gate_that_int8_alone_misses(
    source: Path, ranges: ActivationRanges, feeds: Any, judge: Any, tmp_path: Path
) -> None:
    trials = trials_of(source, ranges, "mse", feeds, judge)
    costs = block_costs(trials, ranges.peaks())
    assert {cost.block for cost in costs} == {"patch_embed.proj", *(f"blocks.{place}" for place in range(6))}

    def gate(outputs: Outputs) -> list[str]:
        cosine = smallest_cosine(trials.reference["features"], outputs["features"])
        return [] if cosine >= GATE else [f"features: cosine {cosine:.6f}, the gate is {GATE}"]

    plan = planned_int8(trials, costs, gate, tmp_path / "vision-int8.onnx", rounds=5)
    assert plan.steps[0].failures
    assert plan.measured.cosine >= GATE
    assert 0 < len(plan.kept) < len(costs)
    assert plan.bytes_after < plan.bytes_before
    component = Bundle.open(source.parent).manifest.components.vision
    specs = [[contract.spec() for contract in side] for side in (component.inputs, component.outputs)]
    with OnnxSession(tmp_path / "vision-int8.onnx", *specs, threads=2) as session:
        features = np.concatenate([session.run(feed)["features"] for feed in trials.feeds])
    assert smallest_cosine(trials.reference["features"], features) == pytest.approx(plan.measured.cosine)
