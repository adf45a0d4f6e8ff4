"""One network in INT8, from its samples to a file: the method, what each block costs, and which of them stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
"""What follows from a graph's outputs for the labels: see `label_evidence`; nothing for a graph without tokens."""


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
    """What everything in INT8 costs by each method."""
    plan: Int8Plan
    residual_peak: float
    """Largest magnitude of the residual stream, which a float16 form keeps in float32; 0 where there is none."""

    def told(self) -> str:
        """Say in one line what was decided."""
        plan = self.plan
        kept = "; ".join(f"{block.block} ({block.reason})" for block in plan.kept)
        saved = (plan.bytes_before - plan.bytes_after) / 1e6
        return (
            f"{self.method} ranges, {len(plan.kept)} of {len(plan.costs)} blocks kept"
            f"{f': {kept}' if kept else ''}; {saved:.1f} MB saved; residual stream up to {self.residual_peak:.3g}"
        )


def planned_component(
    source: Path,
    target: Path,
    ranges: ActivationRanges,
    searched: EvalSet,
    blocks_on: EvalSet,
    gate: Gate,
    *,
    base: Path | None = None,
    kept: Callable[[str], Path] | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Int8Result:
    """Write the INT8 form of a float graph that holds ``gate`` with the fewest blocks kept.

    Args:
        source: the float graph that ``ranges`` are of.
        target: ``NAME.onnx``, not there yet.
        ranges: of its activations.
        searched: samples that the method and the number of blocks are chosen on.
        blocks_on: samples that each block is measured on, a run of the graph a block.
        gate: of the evidence of ``searched``, ``centred_cosine`` of its outputs among it.
        base: the float16 form of ``source``, where that is to be written in INT8.
        kept: gives the file that keeps what the blocks cost, for a method.
        threads: of the CPU, for one operator.
        progress: told of the blocks.

    Raises what `planned_int8` does.
    """
    remembered = _Remembered(searched.evidence)
    trials = Trials(
        source,
        ranges.thresholds("mse"),
        searched.feeds(),
        EvalSet(searched.feed, remembered).agreement,
        threads=threads,
    )
    methods = method_costs(trials, ranges)
    method = next(iter(methods))
    trials = trials.using(ranges.thresholds(method))
    alone = Trials(source, trials.thresholds, blocks_on.feeds(), blocks_on.agreement, threads=threads)
    costs = block_costs(alone, ranges.peaks(), kept=kept(method) if kept else None, progress=progress)

    def missed(outputs: Outputs) -> list[str]:
        return gate.failures({**remembered(outputs), CENTRED: centred(trials.reference, outputs)})

    plan = planned_int8(trials, costs, missed, target, base=base, rounds=0)
    peaks = ranges.peaks()
    stream = [peaks[name] for name in residual_sums(load_graph(source).graph) if name in peaks]
    return Int8Result(method, methods, plan, max(stream, default=0.0))


def centred(reference: Outputs, found: Outputs) -> float:
    """Return the smallest `centred_cosine` of any output."""
    return min(centred_cosine(value, found[name]) for name, value in reference.items())


class _Remembered:
    """Evidence of the outputs asked about last: it is asked for twice, and costs a language model each time."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._last: tuple[Outputs, Mapping[str, float]] | None = None

    def __call__(self, outputs: Outputs) -> Mapping[str, float]:
        if self._last is None or self._last[0] is not outputs:
            self._last = (outputs, self._evidence(outputs))
        return self._last[1]
