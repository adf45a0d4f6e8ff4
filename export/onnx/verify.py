"""Run a written graph as a device will, and measure how far it is from PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.bundle.manifest import UNIT_PRESENCE
from emo_edge.console.progress import Progress
from emo_edge.metrics.gates import graph_failures, unit_failures
from emo_edge.metrics.tensor_parity import Distances, distances
from emo_edge.metrics.unit_agreement import UNIT_EVIDENCE, unit_agreement
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import Tensor, TensorSpec

Contracts = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""Inputs and outputs of a graph."""


@dataclass(frozen=True)
class ComparedGraph:
    """A graph on the disk and its evidence."""

    files: list[Path]
    outputs: dict[str, Tensor]
    """For the samples."""
    evidence: Distances
    failures: list[str]
    """Outputs that fail the gate of its precision; empty if it may be kept."""

    def summary(self) -> str:
        """Return its largest distance, for people."""
        rows = [row for name, row in self.evidence.items() if name != UNIT_EVIDENCE]
        error = max(row["relative_error"] for row in rows)
        cosine = min(row["cosine"] for row in rows)
        return f"relative error {error:.1e}, cosine {cosine:.7f}"


def compared_graph(
    files: list[Path],
    contracts: Contracts,
    precision: str,
    truth: Mapping[str, Tensor],
    feed: Mapping[str, Tensor],
    *,
    thresholds: Sequence[float] = (),
    threads: int | None,
    progress: Progress,
) -> ComparedGraph:
    """Run the graph in ``files`` and compare its outputs with ``truth``, PyTorch's for the same ``feed``.

    ``thresholds`` are those of the action units that the graph gives, if any.
    """
    with OnnxSession(files[0], *contracts, threads=threads) as session:
        outputs = run_in_batches(session, feed, progress=progress)
    evidence = distances(truth, outputs)
    failures = graph_failures(precision, evidence)
    if UNIT_PRESENCE in truth:
        evidence[UNIT_EVIDENCE] = unit_agreement(truth[UNIT_PRESENCE], outputs[UNIT_PRESENCE], thresholds)
        failures += unit_failures(evidence[UNIT_EVIDENCE])
    return ComparedGraph(files, outputs, evidence, failures)


def run_in_batches(
    session: TensorSession, feed: Mapping[str, Tensor], *, size: int = 8, progress: Progress
) -> dict[str, Tensor]:
    """Run a graph over N samples, ``size`` at a time."""
    count, parts = len(next(iter(feed.values()))), []
    for row in range(0, count, size):
        parts.append(session.run({name: value[row : row + size] for name, value in feed.items()}))
        progress(min(row + size, count), count)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
