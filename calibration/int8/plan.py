"""Choice of the blocks that stay in their own precision so that an INT8 graph holds its gate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_edge.calibration.int8.graph_files import refuse_existing, stored_bytes
from emo_edge.calibration.int8.qdq_graph import int8_from_float
from emo_edge.calibration.int8.sensitivity import BlockCost, Measured, Outputs, Trials
from emo_edge.calibration.int8.speed import SpeedCheck, compared_speed
from emo_edge.errors import AccuracyGateError, InputError

Gate = Callable[[Outputs], list[str]]
"""Returns the failures of a graph's outputs; an empty list lets it pass."""
ROUNDS = 20
"""Of the speed check."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptBlock:
    """A block that is not in INT8."""

    block: str
    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Step:
    """One graph that was tried."""

    kept: tuple[str, ...]
    """Blocks."""
    measured: Measured
    failures: tuple[str, ...]
    """Of the gate."""


@dataclass(frozen=True)
class Int8Plan:
    """The graph that was chosen, and why."""

    kept: tuple[KeptBlock, ...]
    quantized: tuple[str, ...]
    """Nodes in INT8."""
    steps: tuple[Step, ...]
    """Every graph tried, in order."""
    measured: Measured
    """Of the one chosen."""
    costs: tuple[BlockCost, ...]
    bytes_before: int
    bytes_after: int
    speed: SpeedCheck | None
    """On this machine, against the graph it was made of; None if not requested."""

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        speed = None if self.speed is None else self.speed.as_json()
        return {**asdict(self), "speed": speed, "bytes_saved": self.bytes_before - self.bytes_after}


def planned_int8(
    trials: Trials,
    costs: Sequence[BlockCost],
    gate: Gate,
    target: Path,
    *,
    base: Path | None = None,
    rounds: int = ROUNDS,
) -> Int8Plan:
    """Write the INT8 graph that holds ``gate`` with the fewest blocks kept in their own precision.

    Blocks of massive activations are kept from the start, then the most sensitive of ``costs``. Their number is
    found by halving, which takes it that one more kept does no harm; whatever is chosen was itself measured.

    Args:
        trials: the graph, its thresholds and the samples.
        costs: of `block_costs`, the most sensitive first.
        gate: of the outputs over these samples.
        target: ``NAME.onnx``, not there yet.
        base: the graph that is written in INT8, where it is not the one tried but that one's float16 form.
        rounds: of the speed check against the source on the first of the samples; 0 leaves it out.

    Raises AccuracyGateError naming the best graph reached if every one with a block in INT8 fails the gate,
    InputError if ``costs`` are empty, CheckpointError if ``target`` exists.
    """
    if not costs:
        raise InputError("there is no block to plan for: measure the costs of the blocks first")
    refuse_existing(target)
    search = _Search(trials, sorted(costs, key=lambda cost: not cost.massive), gate)
    step = search.fewest()
    kept = [_kept(cost) for cost in search.order if cost.block in step.kept]
    nodes = {node for block in kept for node in block.nodes}
    base = base or trials.source
    written = int8_from_float(base, target, trials.thresholds, keep=nodes)
    speed = _timed(trials, base, target, rounds) if rounds else None
    return Int8Plan(
        tuple(kept),
        written.quantized,
        tuple(search.steps),
        step.measured,
        tuple(costs),
        stored_bytes(base),
        written.nbytes,
        speed,
    )


class _Search:
    """Tries graphs that keep the first blocks of an order."""

    def __init__(self, trials: Trials, order: Sequence[BlockCost], gate: Gate) -> None:
        self.trials, self.order, self.gate = trials, order, gate
        self.steps: list[Step] = []

    def fewest(self) -> Step:
        least, most = sum(cost.massive for cost in self.order), len(self.order) - 1
        if least > most:
            raise AccuracyGateError("every block holds massive activations, so none can be INT8: use fp16")
        best = self._tried(least)
        if not best.failures:
            return best
        best = self._tried(most) if most > least else best
        if best.failures:
            raise AccuracyGateError(self._failure())
        # `least` fails the gate, `most` holds it.
        while most - least > 1:
            middle = (least + most) // 2
            step = self._tried(middle)
            if step.failures:
                least = middle
            else:
                best, most = step, middle
        return best

    def _tried(self, count: int) -> Step:
        kept = self.order[:count]
        outputs = self.trials.outputs(node for cost in kept for node in cost.nodes)
        measured, failures = self.trials.measured(outputs), tuple(self.gate(outputs))
        self.steps.append(Step(tuple(cost.block for cost in kept), measured, failures))
        logger.info("%d blocks kept: %s; %s", count, measured, "; ".join(failures) or "the gate holds")
        return self.steps[-1]

    def _failure(self) -> str:
        best = max(self.steps, key=lambda step: (step.measured.agreement, step.measured.overall))
        return (
            f"no INT8 form of {self.trials.source.name} holds the gate: the best one keeps {len(best.kept)} of "
            f"{len(self.order)} blocks, has cosine {best.measured.cosine:.5f} and label agreement "
            f"{best.measured.agreement:.4f}, and fails: {'; '.join(best.failures)}. "
            "Calibrate with more samples or another method, lower the gate, or use fp16"
        )


def _timed(trials: Trials, base: Path, target: Path, rounds: int) -> SpeedCheck:
    return compared_speed(base, target, trials.feeds[0], rounds=rounds, threads=trials.threads)


def _kept(cost: BlockCost) -> KeptBlock:
    measured = cost.measured
    alone = f"alone in INT8: cosine {measured.cosine:.5f}, label agreement {measured.agreement:.4f}"
    reason = f"massive activations, up to {cost.peak:.4g}" if cost.massive else "among the most sensitive blocks"
    return KeptBlock(cost.block, cost.nodes, f"{reason}; {alone}")
