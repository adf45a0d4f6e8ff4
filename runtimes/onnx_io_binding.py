"""ONNX Runtime with its inputs and outputs bound to memory of the device that is kept from call to call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_edge.telemetry import open_onnxruntime
from emo_edge.tensors import Tensor, TensorSpec

KEPT = 8
"""Sizes of feed whose memory is kept: one face, a few batches, the lengths of a few questions."""
CAPTURED = 16
"""Sizes of feed that get a CUDA graph, the first that are asked for: it holds its memory for the session's life."""
GRAPH_OPTION = "gpu_graph_id"
"""Run option that names the captured graph of a size."""
NO_GRAPH = "-1"
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Bound:
    """One size of feed: its memory on the device, and the options of its runs."""

    feeds: dict[str, Any]
    results: dict[str, Any]
    binding: Any
    options: Any
    captured: bool


class IoBinding:
    """Runs of one session, a binding for each size of feed.

    Args:
        session: ONNX Runtime's.
        inputs: of the graph.
        outputs: of the graph; a named axis has the size of the input axis of that name.
        device: ``cpu`` or ``cuda``, where the memory lies.
        graphs: whether the session captures CUDA graphs, which stay valid while their memory stays where it is.

    """

    def __init__(
        self, session: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: str, *, graphs: bool
    ) -> None:
        self._session, self._inputs, self._outputs = session, tuple(inputs), tuple(outputs)
        self._device, self._graphs, self._count = device, graphs, 0
        self._kept: OrderedDict[Shapes, _Bound] = OrderedDict()

    def run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy the inputs to the device, compute, copy the outputs back; the arrays returned are the caller's."""
        shapes = tuple(feed[spec.name].shape for spec in self._inputs)
        bound = self._kept.get(shapes) or self._bind(shapes, feed)
        self._kept.move_to_end(shapes)
        for spec in self._inputs:
            bound.feeds[spec.name].update_inplace(_contiguous(feed[spec.name]))
        try:
            self._session.run_with_iobinding(bound.binding, bound.options)
        except Exception:
            # Its memory is wanted where a feed did not fit, and a graph that was captured in part is never replayed.
            del self._kept[shapes]
            raise
        outputs = {name: value.numpy() for name, value in bound.results.items()}
        # From a card `numpy` copies; in main memory it shows what the next run writes into.
        return {name: value.copy() for name, value in outputs.items()} if self._device == "cpu" else outputs

    def _bind(self, shapes: Shapes, feed: Mapping[str, Tensor]) -> _Bound:
        ort = open_onnxruntime()
        captured = self._graphs and self._count < CAPTURED
        if not captured:
            self._drop_oldest()
        sizes = {
            axis: size for spec in self._inputs for axis, size in zip(spec.shape, feed[spec.name].shape, strict=True)
        }
        binding = self._session.io_binding()
        # A copy: in main memory the value is the array it was made of, which is the caller's.
        feeds = {
            spec.name: ort.OrtValue.ortvalue_from_numpy(feed[spec.name].copy(order="C"), self._device, 0)
            for spec in self._inputs
        }
        results = {}
        for spec in self._outputs:
            shape = [size if isinstance(size, int) else sizes[size] for size in spec.shape]
            results[spec.name] = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(spec.dtype), self._device, 0)
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in results.items():
            binding.bind_ortvalue_output(name, value)
        options = ort.RunOptions()
        if self._graphs:
            options.add_run_config_entry(GRAPH_OPTION, str(self._count) if captured else NO_GRAPH)
            self._count += captured
        self._kept[shapes] = _Bound(feeds, results, binding, options, captured)
        return self._kept[shapes]

    def _drop_oldest(self) -> None:
        loose = [shapes for shapes, bound in self._kept.items() if not bound.captured]
        for shapes in loose[: max(len(loose) - KEPT + 1, 0)]:
            del self._kept[shapes]


def _contiguous(value: Tensor) -> Tensor:
    return np.ascontiguousarray(value)
