"""Cost of INT8, block by block, and the blocks that hold massive activations."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from emo_edge.calibration.int8.clipping_thresholds import METHODS
from emo_edge.calibration.int8.graph_files import GraphRun, load_graph
from emo_edge.calibration.int8.matmuls import blocks, matmuls
from emo_edge.calibration.int8.qdq_graph import int8_model
from emo_edge.errors import InputError
from emo_edge.metrics.tensor_parity import smallest_cosine
from emo_edge.tensors import Tensor
from emo_edge.utils.files import replace_text
from emo_edge.utils.partial_results import is_number, kept_values

Outputs = Mapping[str, Tensor]
"""A graph's outputs for all samples, [N, ...] each."""
Agreement = Callable[[Outputs], float]
"""Share of samples whose label stays, 0..1, given the graph's outputs."""
Blocks = Mapping[str, Sequence[str]]
"""Nodes by block."""
MASSIVE_RATIO = 8.0
"""At eight times the typical block's range, INT8's 127 steps leave ordinary values 16."""


@dataclass(frozen=True)
class Measured:
    """Distance of a graph from the original."""

    cosine: float
    """Smallest of any sample of any output."""
    overall: float
    """Smallest of any output, all its samples as one vector: one whose values are next to zero counts little."""
    agreement: float
    """Share of samples whose label stays."""


@dataclass(frozen=True)
class BlockCost:
    """Cost of one block in INT8, all others being left."""

    block: str
    nodes: tuple[str, ...]
    peak: float
    """Largest magnitude that one of its matmuls reads."""
    massive: bool
    measured: Measured


class Trials:
    """Builds INT8 graphs in memory and runs all of them over the same samples.

    Args:
        source: the float graph.
        thresholds: of its activations.
        feeds: samples to measure with; kept, as the original's outputs are.
        agreement: computes the label agreement.
        threads: of the CPU, for one operator; None leaves it to ONNX Runtime.

    Raises InputError without samples, and whatever `GraphRun` does.
    """

    def __init__(
        self,
        source: Path,
        thresholds: Mapping[str, float],
        feeds: Iterable[Mapping[str, Tensor]],
        agreement: Agreement,
        *,
        threads: int | None = None,
    ) -> None:
        self.source, self.thresholds, self.feeds = source, thresholds, list(feeds)
        self.agreement, self.threads = agreement, threads
        if not self.feeds:
            raise InputError("there is no sample to measure INT8 with: give some that calibration has not used")
        model = load_graph(source)
        self.nodes = tuple(matmul.node for matmul in matmuls(model.graph))
        self.blocks: Blocks = blocks(model.graph)
        self.reference = self._outputs(GraphRun(model, source.parent, threads))
        if bad := [name for name, value in self.reference.items() if not np.isfinite(value).all()]:
            raise InputError(f"{source}: output {bad[0]} is not finite before quantization; check samples and weights")

    def outputs(self, keep: Iterable[str]) -> Outputs:
        """Return the outputs of the graph with every matmul in INT8 but ``keep``."""
        model, _ = int8_model(self.source, self.thresholds, keep=set(keep))
        return self._outputs(GraphRun(model, self.source.parent, self.threads))

    def using(self, thresholds: Mapping[str, float]) -> Trials:
        """Return trials over the same samples with other thresholds."""
        other = copy.copy(self)
        other.thresholds = thresholds
        return other

    def measured(self, outputs: Outputs) -> Measured:
        """Compare outputs with the original's."""
        pairs = [(self.reference[name], outputs[name]) for name in self.reference]
        cosine = min(smallest_cosine(*pair) for pair in pairs)
        overall = min(smallest_cosine(true[None], other[None]) for true, other in pairs)
        return Measured(cosine, overall, float(self.agreement(outputs)))

    def _outputs(self, run: GraphRun) -> Outputs:
        parts = [run.run(feed) for feed in self.feeds]
        return {name: np.concatenate([part[name] for part in parts]) for name in run.outputs}


def method_costs(trials: Trials, thresholds: Callable[[str], Mapping[str, float]]) -> dict[str, Measured]:
    """Measure the graph with every matmul in INT8 by each of `METHODS`, the least costly method first.

    ``thresholds`` gives those of a method, as `ActivationRanges.thresholds` does.
    """
    costs = {}
    for method in METHODS:
        tried = trials.using(thresholds(method))
        costs[method] = tried.measured(tried.outputs(()))
    return dict(sorted(costs.items(), key=lambda item: (-item[1].agreement, -item[1].overall)))


def block_costs(
    trials: Trials,
    peaks: Mapping[str, float],
    *,
    grouped: Blocks | None = None,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[BlockCost]:
    """Measure the cost of each block in INT8 alone, the most sensitive first: by agreement, then by overall cosine.

    Args:
        trials: the graph and its samples.
        peaks: largest magnitude of each activation, `ActivationRanges.peaks`.
        grouped: nodes by block; by default the network's own blocks, and ``{node: [node]}`` looks at each matmul.
        kept: a file of the measurements, so that a stopped pass goes on; it belongs to one graph, its thresholds
            and its samples.
        progress: called with how many blocks are done, and of how many.

    Raises InputError for a node that is no matmul or has no range.
    """
    grouped = trials.blocks if grouped is None else grouped
    highest = block_peaks(trials.source, peaks, grouped)
    massive = massive_blocks(highest)
    costs = []
    known: dict[str, list[float]] = kept_values(kept, _is_measured) if kept else {}
    for done, (name, nodes) in enumerate(grouped.items(), start=1):
        if name not in known:
            known[name] = list(astuple(trials.measured(trials.outputs(set(trials.nodes) - set(nodes)))))
            if kept:
                replace_text(kept, json.dumps(known))
        measured = Measured(*known[name])
        costs.append(BlockCost(name, tuple(nodes), highest[name], name in massive, measured))
        if progress:
            progress(done, len(grouped))
    return sorted(costs, key=lambda cost: (cost.measured.agreement, cost.measured.overall))


def _is_measured(value: Any) -> bool:
    return isinstance(value, list) and len(value) == len(fields(Measured)) and all(map(is_number, value))


def block_peaks(source: Path, peaks: Mapping[str, float], grouped: Blocks) -> dict[str, float]:
    """Return the largest magnitude that a matmul of each block reads; raise InputError if one is not known."""
    graph = load_graph(source).graph
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    reads = {matmul.node: matmul.activation for matmul in matmuls(graph)}
    strange = [node for nodes in grouped.values() for node in nodes if node not in reads]
    if strange:
        raise InputError(f"{', '.join(strange)}: no matmul of {source.name}")
    names = {node: name if name in peaks else casts.get(name, name) for node, name in reads.items()}
    if unknown := [name for name in names.values() if name not in peaks]:
        raise InputError(f"activation {unknown[0]}: has no range; gather the ranges of this graph's float32 form")
    return {block: max(peaks[names[node]] for node in nodes) for block, nodes in grouped.items()}


def massive_blocks(highest: Mapping[str, float]) -> set[str]:
    """Name the blocks that read magnitudes above `MASSIVE_RATIO` times the median block's.

    A few activations of huge magnitude, in fixed channels and almost whatever the input, steer a transformer; to clip
    or round them away breaks it (Sun et al., "Massive Activations in Large Language Models", COLM 2024, who find them
    in CLIP and DINOv2 towers too). Theirs is a rule on hidden states; the ratio between blocks is ours, chosen for
    what INT8 can hold.
    """
    typical = median(highest.values()) if highest else 0.0
    return {block for block, peak in highest.items() if peak > MASSIVE_RATIO * typical}
