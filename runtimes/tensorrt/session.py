"""TensorRT: runs an engine that this machine compiled from a graph of the bundle.

Inputs are written to pinned memory once and copied once; outputs are copied once, into pinned memory that the caller's
arrays own. Where GPU and CPU have one memory (Tegra) neither is copied: the engine works on the pinned memory itself.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np

from emo_edge.errors import DeviceError, DeviceMemoryError, EngineError, UnsupportedCardError
from emo_edge.runtimes.base.row_batches import RowBatches
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt.cuda import CudaDevice, Memory, PinnedPool
from emo_edge.tensors import Tensor, TensorSpec

logger = logging.getLogger(__name__)
REMEDY = "run: emo-edge engines clear --all"
OTHERWISE = 'use `device` cuda, or TensorRT itself: pip install "emo-edge[tensorrt]"'
Shapes = tuple[tuple[int, ...], ...]


class TensorRtSession(TensorSession):
    """A deserialised engine and its context on one device.

    Args:
        plan: the engine's bytes, verified; they may be let go afterwards.
        inputs: of the graph, as the bundle describes it.
        outputs: of the graph, as the bundle describes it.
        device: where it runs; this session closes it.
        most_rows: rows the engine was compiled for; a larger feed is computed in parts.
        graphs: capture a CUDA graph for each size of feed.
        module: TensorRT; found if None.

    Raises EngineError for bytes that are no engine of this machine, or another graph's, UnsupportedCardError where this
    TensorRT runs on other cards, DeviceMemoryError where the device's memory is short, MissingExtraError without
    TensorRT.

    """

    def __init__(
        self,
        plan: Any,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        device: CudaDevice,
        most_rows: int,
        graphs: bool = False,
        module: Any = None,
    ) -> None:
        super().__init__(inputs, outputs)
        self._trt = module or tensorrt_api.tensorrt_module()
        self._device, self._parts, self._capture = device, RowBatches(most_rows), graphs
        self._complaints: list[str] = []
        self._logger = tensorrt_api.complaints_logger(self._trt, self._complaints)
        trt, logger = self._trt, self._logger
        self._runtime = runtime = tensorrt_api.created(trt, lambda: trt.Runtime(logger))
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            if tensorrt_api.wrong_card(self._complaints):
                name = tensorrt_api.library_name(trt)
                raise UnsupportedCardError(f"{name} does not run on this card ({self._last_errors()}); {OTHERWISE}")
            kind = DeviceMemoryError if tensorrt_api.short_of_memory(self._complaints) else EngineError
            raise kind(f"TensorRT does not take this engine ({self._last_errors()}); {REMEDY}")
        self._engine = engine
        self._check_described()
        self._context = self._new_context()
        self._buffers: dict[str, Memory] = {}
        self._pool = PinnedPool(device)
        self._graphs: dict[Shapes, Any] = {}
        self._closed = False

    def close(self) -> None:
        """Free the engine and its buffers; a second call does nothing."""
        if not self._closed:
            self._closed = True
            with suppress(DeviceError):
                self._device.use()
            self._forget_graphs()
            for memory in self._buffers.values():
                memory.free()
            self._pool.close()
            self._context = self._engine = self._runtime = None
            self._device.close()

    def _run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self._closed:
            raise ValueError("the session is closed")
        return self._parts.run(self._run_part, feed)

    def _run_part(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute at most as many rows as the engine was compiled for."""
        context = self._context
        self._complaints.clear()
        self._device.use()
        if not len(next(iter(feed.values()))):
            return {spec.name: np.empty((0, *self._fixed(spec)), spec.dtype) for spec in self.outputs}
        for spec in self.inputs:
            if not context.set_input_shape(spec.name, feed[spec.name].shape):
                raise DeviceError(f"{spec.name} {list(feed[spec.name].shape)} is outside what the engine was built for")
        shapes = {spec.name: tuple(context.get_tensor_shape(spec.name)) for spec in self.outputs}
        unknown = [name for name, shape in shapes.items() if min(shape, default=0) < 0]
        if unknown:
            raise EngineError(f"TensorRT does not know the shape of {', '.join(unknown)} before it runs")
        results: dict[str, Memory] = {}
        try:
            for spec in self.outputs:
                results[spec.name] = self._pool.take(_bytes(spec, shapes[spec.name]))
            self._fetch(feed, shapes, results)
        except BaseException:
            with suppress(DeviceError):
                self._device.wait()  # copies into what is given back may be under way
            for memory in results.values():
                memory.free()
            raise
        return {spec.name: _owned(results[spec.name], spec.dtype, shapes[spec.name]) for spec in self.outputs}

    def _fetch(
        self, feed: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], results: Mapping[str, Memory]
    ) -> None:
        device, shared = self._device, self._device.facts.integrated
        for spec in self.inputs:
            value = np.ascontiguousarray(feed[spec.name])
            pinned = self._buffer(f"host {spec.name}", value.nbytes, pinned=True)
            _view(pinned, value.dtype, value.shape)[...] = value
            if not shared:
                copy = self._buffer(spec.name, value.nbytes)
                device.copy_to_device(copy.device, pinned.host, value.nbytes)
            self._bind(spec.name, pinned.device if shared else copy.device)
        for spec in self.outputs:
            size = _bytes(spec, shapes[spec.name])
            self._bind(spec.name, results[spec.name].device if shared else self._buffer(spec.name, size).device)
        key = tuple(feed[spec.name].shape for spec in self.inputs)
        self._enqueue(key, fixed=not shared)
        if not shared:
            for spec in self.outputs:
                computed = self._buffers[spec.name]
                device.copy_to_host(results[spec.name].host, computed.device, _bytes(spec, shapes[spec.name]))
        device.wait()

    def _enqueue(self, shapes: Shapes, *, fixed: bool) -> None:
        """Start the engine; with graphs, replay what the first run of these shapes recorded."""
        if not (self._capture and fixed):
            return self._execute()
        graph = self._graphs.get(shapes)
        if graph is not None:
            return self._device.launch(graph)
        # A graph does not outlive a change of shapes in its context (NVIDIA/TensorRT issue 3798): one at a time.
        self._forget_graphs()
        self._execute()
        # The first run of a shape may set things up that must not be recorded.
        self._device.wait()
        try:
            self._graphs[shapes] = self._device.captured(self._execute)
        except DeviceError as error:
            logger.warning("this engine cannot be captured as a CUDA graph (%s); running it without", error)
            self._capture = False
        return None

    def _forget_graphs(self) -> None:
        for graph in self._graphs.values():
            self._device.forget(graph)
        self._graphs.clear()

    def _execute(self) -> None:
        context = self._context
        if not context.execute_async_v3(int(self._device.stream)):
            kind = DeviceMemoryError if tensorrt_api.short_of_memory(self._complaints) else DeviceError
            raise kind(f"TensorRT could not run the engine ({self._last_errors()}); see emo-edge doctor")

    def _bind(self, name: str, address: int) -> None:
        context = self._context
        if not context.set_tensor_address(name, address):
            raise DeviceError(f"TensorRT does not take the memory of {name} ({self._last_errors()})")

    def _buffer(self, name: str, size: int, *, pinned: bool = False) -> Memory:
        """Return memory of at least ``size`` bytes that is kept for the next call; a larger one drops every graph."""
        memory = self._buffers.get(name)
        if memory is None or memory.size < size:
            if memory is not None:
                self._forget_graphs()
                self._buffers.pop(name).free()
            self._buffers[name] = self._device.host_memory(size) if pinned else self._device.device_memory(size)
        return self._buffers[name]

    def _new_context(self) -> Any:
        engine = self._engine
        context = engine.create_execution_context()
        if context is None:
            raise DeviceMemoryError(f"no GPU memory for the engine's activations ({self._last_errors()})")
        return context

    def _check_described(self) -> None:
        """Compare names, types and fixed sizes with what the bundle describes."""
        engine, trt = self._engine, self._trt
        ports = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
            reads = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            ports[name] = ("input" if reads else "output", dtype, tuple(engine.get_tensor_shape(name)))
        described = {spec.name: ("input", spec) for spec in self.inputs}
        described |= {spec.name: ("output", spec) for spec in self.outputs}
        problems = [f"{name} is unknown" for name in sorted(ports.keys() - described.keys())]
        for name, (kind, spec) in described.items():
            shape = tuple(size if isinstance(size, int) else -1 for size in spec.shape)
            port = ports.get(name)
            if port and kind == "output" and len(port[2]) == len(shape):
                # What the graph computes a size from may leave it open in the engine.
                port = (*port[:2], tuple(-1 if -1 in pair else pair[0] for pair in zip(port[2], shape, strict=True)))
                shape = tuple(-1 if size == -1 else own for size, own in zip(port[2], shape, strict=True))
            if port != (kind, spec.dtype, shape):
                problems.append(f"{kind} {name} is {ports.get(name)}, described as {(spec.dtype, shape)}")
        if problems:
            raise EngineError(f"the engine is another graph's: {'; '.join(problems)}; {REMEDY}")

    def _fixed(self, spec: TensorSpec) -> tuple[int, ...]:
        return tuple(size for size in spec.shape[1:] if isinstance(size, int))

    def _last_errors(self) -> str:
        return "; ".join(" ".join(text.split())[:200] for text in self._complaints[-2:]) or "no reason given"


def _bytes(spec: TensorSpec, shape: Sequence[int]) -> int:
    return prod(shape) * np.dtype(spec.dtype).itemsize


def _view(memory: Memory, dtype: Any, shape: Sequence[int]) -> Tensor:
    """Look at pinned memory as an array; nothing is copied, and nobody owns it."""
    import ctypes

    size = prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_uint8 * size).from_address(memory.host), dtype).reshape(shape)


def _owned(memory: Memory, dtype: Any, shape: Sequence[int]) -> Tensor:
    """Look at pinned memory as an array that frees it when the last view of it is gone."""
    import ctypes

    size = prod(shape) * np.dtype(dtype).itemsize
    owner = (ctypes.c_uint8 * size).from_address(memory.host)
    # At the end of the program the driver may be gone before this.
    weakref.finalize(owner, memory.free).atexit = False
    return np.frombuffer(owner, dtype).reshape(shape)
