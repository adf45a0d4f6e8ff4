"""One network in INT8, from its samples to a file: the method, what each block costs, and which of them stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emo_edge.calibration.int8.graph_files import load_graph
from emo_edge.calibration.int8.matmuls import residual_sums
from emo_edge.calibration.int8.plan import Int8Plan, planned_int8
from emo_edge.calibration.int8.ranges import ActivationRanges
from emo_edge.calibration.int8.sensitivity import Measured, Outputs, Trials, block_costs, method_costs
from emo_edge.metrics.gates import CENTRED, Gate
from emo_edge.metrics.tensor_parity import centred_cosine
from emo_edge.tensors import Tensor

AT_ONCE = 16
"""Samples a graph is run on at once."""
Evidence = Callable[[Outputs], Mapping[str, float]]
"""Label evidence that follows from a graph's outputs, see `label_evidence`; empty for a graph without tokens."""


@dataclass(frozen=True)
class EvalSet:
    """Samples that a network's graphs are measured on."""

    feed: Mapping[str, Tensor]
    """Its inputs, [N, ...] each."""
    evidence: Evidence

    def feeds(self) -> list[dict[str, Tensor]]:
        """Cut the inputs into batches."""
        count = len(next(iter(self.feed.values())))
        return [
            {name: value[start : start + AT_ONCE] for name, value in self.feed.items()}
            for start in range(0, count, AT_ONCE)
        ]

    def agreement(self, outputs: Outputs) -> float:
        """Share of samples whose label stays; 1 where no label follows."""
        return self.evidence(outputs).get("label_agreement", 1.0)


@dataclass(frozen=True)
class Int8Result:
    """A plan, and the method its ranges are by."""

    method: str
    methods: Mapping[str, Measured]
    """Cost of everything in INT8 by each method."""
    plan: Int8Plan
    residual_peak: float
    """Largest magnitude of the residual stream, which a float16 form keeps in float32; 0 where there is none."""

    def summary(self) -> str:
        """Describe in one line what was decided."""
        plan = self.plan
        kept = "; ".join(f"{block.block} ({block.reason})" for block in plan.kept)
        saved = (plan.bytes_before - plan.bytes_after) / 1e6
        return (
            f"{self.method} ranges, {len(plan.kept)} of {len(plan.costs)} blocks kept"
            f"{f': {kept}' if kept else ''}; {saved:.1f} MB saved; residual stream up to {self.residual_peak:.3g}"
        )


@dataclass(frozen=True)
class Int8Task:
    """One float graph to write in INT8, and the samples that decide how."""

    source: Path
    """The float graph."""
    ranges: ActivationRanges
    """Of its activations."""
    searched: EvalSet
    """Samples that the method and the number of blocks are chosen on."""
    blocks_on: EvalSet
    """Samples that each block is measured on, a run of the graph a block."""
    gate: Gate
    """Of the evidence of ``searched``, ``centred_cosine`` of its outputs among it."""
    base: Path | None = None
    """The float16 form of ``source``, where that is to be written in INT8."""
    threads: int | None = None
    """Of the CPU, for one operator."""

    def trials(self, samples: EvalSet, thresholds: Mapping[str, float]) -> Trials:
        """Return trials of the graph on ``samples``."""
        return Trials(self.source, thresholds, samples.feeds(), samples.agreement, threads=self.threads)


def planned_component(
    task: Int8Task,
    target: Path,
    *,
    kept: Callable[[str], Path] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Int8Result:
    """Write the INT8 form of a float graph that holds its gate with the fewest blocks kept.

    Args:
        task: the graph and its samples.
        target: ``NAME.onnx``, not there yet.
        kept: gives the file that keeps what the blocks cost, for a method.
        progress: gets the blocks done and in all.

    Raises what `planned_int8` does.
    """
    evidence, peaks = _LastEvidence(task.searched.evidence), task.ranges.peaks()
    thresholds = cache(task.ranges.thresholds)
    trials = task.trials(EvalSet(task.searched.feed, evidence), thresholds("mse"))
    methods = method_costs(trials, thresholds)
    method = next(iter(methods))
    trials = trials.using(thresholds(method))
    alone = task.trials(task.blocks_on, trials.thresholds)
    costs = block_costs(alone, peaks, kept=kept(method) if kept else None, progress=progress)

    def failures(outputs: Outputs) -> list[str]:
        return task.gate.failures({**evidence(outputs), CENTRED: centred(trials.reference, outputs)})

    plan = planned_int8(trials, costs, failures, target, base=task.base, rounds=0)
    stream = [peaks[name] for name in residual_sums(load_graph(task.source).graph) if name in peaks]
    return Int8Result(method, methods, plan, max(stream, default=0.0))


def centred(reference: Outputs, outputs: Outputs) -> float:
    """Return the smallest `centred_cosine` of any output."""
    return min(centred_cosine(value, outputs[name]) for name, value in reference.items())


class _LastEvidence:
    """Evidence of the last outputs, kept: it is needed twice, and costs a run of the language model each time."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._last: tuple[Outputs, Mapping[str, float]] | None = None

    def __call__(self, outputs: Outputs) -> Mapping[str, float]:
        if self._last is None or self._last[0] is not outputs:
            self._last = (outputs, self._evidence(outputs))
        return self._last[1]
