"""The ranges of a graph's activations over samples, streamed: memory does not grow with their number.

ONNX Runtime's own calibrators keep every activation of every sample until they reduce it (entropy, percentile), or
know no more than the extremes, and have no mean squared error. Here each tensor has one histogram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, ValueInfoProto

from emo_edge.calibration.int8.clipping_thresholds import threshold
from emo_edge.calibration.int8.graph_files import GraphRun, fingerprint, load_graph
from emo_edge.calibration.int8.histogram import MagnitudeHistogram
from emo_edge.calibration.int8.matmuls import matmuls, residual_sums
from emo_edge.calibration.int8.range_state import RangeState, load_state, new_state
from emo_edge.errors import CheckpointError, InputError
from emo_edge.tensors import Tensor

LEAST_SAMPLES = 16
RUN_BYTES = 256 << 20
"""Activations held at once. Those of 39 EVA-g blocks take 0.5 GB an image: there one image is run at a time."""
Progress = Callable[[int], None]
"""Gets the number of samples counted."""


@dataclass(frozen=True)
class ActivationRanges:
    """Histograms of every tensor that quantization or the plan needs."""

    histograms: Mapping[str, MagnitudeHistogram]
    samples: int

    def thresholds(self, method: str) -> dict[str, float]:
        """Return the threshold of every tensor by one of `emo_edge.calibration.int8.clipping_thresholds.METHODS`."""
        return {name: threshold(histogram, method) for name, histogram in self.histograms.items()}

    def peaks(self) -> dict[str, float]:
        """Return the largest magnitude of every tensor."""
        return {name: histogram.peak for name, histogram in self.histograms.items()}


def gather_ranges(
    graph: Path,
    feeds: Iterable[Mapping[str, Tensor]],
    *,
    state: Path | None = None,
    least: int = LEAST_SAMPLES,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ActivationRanges:
    """Run the float32 ``graph`` over ``feeds`` and count the magnitudes of its activations.

    Counted are the inputs of every matmul with a constant weight, and the residual stream. A feed of many samples
    is run in pieces whose activations fit `RUN_BYTES`; each is counted at once and dropped. The result is the same
    to the bit wherever feeds and pieces end, as far as ONNX Runtime's is.

    Args:
        graph: with its data file next to it, if it has one.
        feeds: named arrays [n, ...] of any n, read once and in order; nothing of them is kept.
        state: a small file written after every feed. If it is there, the feeds that it counted are read, compared
            with what it counted, and not run again.
        least: fewest samples to call it a calibration.
        threads: of the CPU, for one operator; None leaves it to ONNX Runtime.
        progress: called after every feed.

    Raises InputError for too few samples, a non-finite activation (named), or a ``state`` of another graph or other
    samples; CheckpointError for a graph that cannot be read or has no matmul.
    """
    model = load_graph(graph)
    tensors = observed_tensors(model)
    gathered = _opened_state(state, fingerprint(graph), tensors)
    run = _Observed(model, tensors, graph.parent, threads)
    for feed in gathered.remaining(feeds):
        run.count(feed, gathered.histograms)
        gathered.counted(feed)
        if state is not None:
            gathered.save(state)
        if progress:
            progress(gathered.samples)
    if gathered.samples < least:
        raise InputError(f"{gathered.samples} samples are too few to calibrate with: give at least {least}")
    return ActivationRanges(gathered.histograms, gathered.samples)


def observed_tensors(model: ModelProto) -> list[str]:
    """Name the activations that `gather_ranges` counts, each once; raise CheckpointError if there is none."""
    inputs = [matmul.activation for matmul in matmuls(model.graph)]
    if not inputs:
        raise CheckpointError(
            f"the graph {model.graph.name} has no Conv, Gemm or MatMul with a constant weight: nothing to quantize"
        )
    return list(dict.fromkeys([*inputs, *residual_sums(model.graph)]))


class _Observed:
    """The graph with activations as further outputs."""

    def __init__(self, model: ModelProto, tensors: Sequence[str], folder: Path, threads: int | None) -> None:
        known = {value.name for value in (*model.graph.input, *model.graph.output)}
        extended = ModelProto()
        extended.CopyFrom(model)
        extended.graph.output.extend(ValueInfoProto(name=name) for name in tensors if name not in known)
        self.run, self.tensors = GraphRun(extended, folder, threads), tensors
        self.rows = 1
        """Samples a run; the first shows how large their activations are."""

    def count(self, feed: Mapping[str, Tensor], histograms: Mapping[str, MagnitudeHistogram]) -> None:
        for piece in self._pieces(feed):
            tensors = {**piece, **self.run.run(piece)}
            for name in self.tensors:
                try:
                    histograms[name].add(tensors[name])
                except InputError as error:
                    raise InputError(
                        f"activation {name}: {error}; look for broken samples, or for overflow in the checkpoint"
                    ) from error
            size = sum(value.nbytes for value in tensors.values())
            self.rows = max(1, RUN_BYTES * len(next(iter(piece.values()))) // max(size, 1))

    def _pieces(self, feed: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        count, start = len(next(iter(feed.values()))), 0
        while start < count:
            rows = self.rows
            yield {name: value[start : start + rows] for name, value in feed.items()}
            start += rows


def _opened_state(path: Path | None, graph: str, tensors: Sequence[str]) -> RangeState:
    if path is not None and path.exists():
        return load_state(path, graph, tensors)
    return new_state(graph, tensors)
