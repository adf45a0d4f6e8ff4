"""ONNX Runtime: runs a graph of the bundle on the CPU or an NVIDIA card."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.errors import CheckpointError, DeviceError, DeviceMemoryError
from emo_edge.machine.cpus import limited_cpus
from emo_edge.runtimes.base.row_batches import RowBatches
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.base.signature_check import Port, differences, fixed_sizes
from emo_edge.runtimes.onnx_copies import copy_key, small_graph, user_copies
from emo_edge.runtimes.onnx_int8 import open_session
from emo_edge.runtimes.onnx_io_binding import IoBinding
from emo_edge.telemetry import open_onnxruntime
from emo_edge.tensors import Tensor, TensorSpec
from emo_edge.utils.memory import is_out_of_memory
from emo_edge.utils.native_paths import native_path

logger = logging.getLogger(__name__)
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's name for each device."""
DTYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
}
MEMORY_WORDS = ("alloc", "out of memory")
"""Words of ONNX Runtime's, CUDA's and cuBLAS's errors where memory is short."""
GRAPHS_FROM = (1, 31)
"""The release from which ONNX Runtime's captured graphs are used. Before its pull request 32121 of 2026 a replay could
read what another run had written: a captured Concat or Split copied from memory that was given away after the run."""
NOT_CAPTURED = "cannot use the graph capture feature"
"""Words of ONNX Runtime's error for a graph with control flow, or nodes that its CUDA provider leaves to the CPU."""
FATAL = 4
"""Log level: what goes wrong is raised, so nothing else need be printed."""


class OnnxSession(TensorSession):
    """An ONNX file in ONNX Runtime.

    Args:
        path: the graph; large weights lie next to it.
        inputs: of the graph, as the bundle describes it.
        outputs: of the graph, as the bundle describes it.
        device: ``cpu`` or ``cuda``; nothing falls back to the other.
        threads: of the CPU, for one operator; None leaves it to ONNX Runtime.
        cuda: what the bundle asks of the CUDA provider.

    On CUDA inputs and outputs lie in memory that is kept for each size of feed, and are copied once each way; a feed
    that does not fit is computed in parts. While a CUDA graph is captured, no other thread may call CUDA; a session is
    used by one thread.

    Raises CheckpointError if the file is missing, unreadable or not the graph described, DeviceError if this machine
    has no such device, ModuleNotFoundError without onnxruntime.

    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        device: str = "cpu",
        threads: int | None = None,
        cuda: CudaSettings | None = None,
    ) -> None:
        super().__init__(inputs, outputs)
        self._path, self._device, self._threads = path, device, threads
        self._parts = RowBatches()
        self._open(cuda or CudaSettings())
        problems = differences("input", self.inputs, _ports(self._session.get_inputs()))
        problems += differences("output", self.outputs, _ports(self._session.get_outputs()))
        if problems:
            self.close()
            raise CheckpointError(f"{path}: not the graph described: {'; '.join(problems)}")

    def _open(self, cuda: CudaSettings) -> None:
        self._cuda = cuda
        self._session: Any
        self._session, self._graphs = _open_session(self._path, self._device, self._threads, cuda)
        self._bound: IoBinding | None = None
        if self._device != "cpu":
            self._bound = IoBinding(self._session, self.inputs, self.outputs, self._device, graphs=self._graphs)

    def close(self) -> None:
        """Free the engine; a second call does nothing."""
        self._session = self._bound = None

    def _run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self._session is None:
            raise ValueError("the session is closed")
        return self._parts.run(self._translated, feed)

    def _translated(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            return self._bound.run(feed) if self._bound else self._computed(feed)
        except Exception as error:
            # ONNX Runtime's errors have no class of their own.
            if not self._graphs or "captur" not in str(error).lower():
                raise _named(_translated(error), self._path) from error
            logger.warning("%s runs without CUDA graphs: %s", self._path.name, " ".join(str(error).split())[:300])
        self._session = self._bound = None
        self._open(self._cuda.model_copy(update={"graphs": False}))
        return self._translated(feed)

    def _computed(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, dict(feed)), strict=True))


def _open_session(path: Path, device: str, threads: int | None, cuda: CudaSettings) -> tuple[Any, bool]:
    """Return the session, and whether it captures CUDA graphs, which ONNX Runtime does not do for every graph."""
    ort = open_onnxruntime()
    provider = _provider(device, ort.get_available_providers())
    if device == "cuda" and hasattr(ort, "preload_dlls"):
        # The wheel's CUDA provider does not look where pip puts CUDA's libraries.
        # It prints what it misses, on the stdout that results go to.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    options = session_options(threads)
    try:
        with native_path(path) as name:
            if device == "cpu":
                session, graphs = _cpu_session(ort, path, name, options), False
            else:
                session, graphs = _create_session(ort, name, options, cuda)
    except Exception as error:
        if "alloc" in str(error) or is_out_of_memory(error):
            raise DeviceMemoryError(f"{path}: not enough memory. ONNX Runtime says: {error}") from error
        translated = _translated(error)
        if device == "cuda" and isinstance(translated, DeviceError):
            raise translated from error
        raise CheckpointError(f"{path}: ONNX Runtime cannot load this graph: {error}") from error
    if provider not in session.get_providers():
        raise DeviceError(f"{device} could not be started; ONNX Runtime offers only {session.get_providers()}")
    session.disable_fallback()
    return session, graphs


def session_options(threads: int | None) -> Any:
    """Create options of a session: silent, and with threads that wait without spinning.

    ``threads`` None is ONNX Runtime's own choice, or what the control group and the affinity of this process allow.
    """
    options = open_onnxruntime().SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads or limited_cpus() or 0
    # Waiting threads that spin starve other programs: 40 instead of 24 ms an image on two busy cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _create_session(ort: Any, path: str, options: Any, cuda: CudaSettings) -> tuple[Any, bool]:
    plain = cuda.model_copy(update={"graphs": False})
    if cuda.graphs and not cuda.tensorrt_provider and graphs_are_safe(ort.__version__):
        try:
            return ort.InferenceSession(path, options, providers=providers("cuda", cuda)), True
        except Exception as error:
            if NOT_CAPTURED not in str(error):
                raise
            logger.info("%s runs without CUDA graphs: %s", Path(path).name, " ".join(str(error).split())[:300])
    return ort.InferenceSession(path, options, providers=providers("cuda", plain)), False


def _cpu_session(ort: Any, path: Path, name: str, options: Any) -> Any:
    """Open a graph, whose file is called ``name`` to ONNX Runtime, from the copy that an earlier process kept.

    Keeps a copy where there is none.
    """
    chosen, kept, content = providers("cpu", CudaSettings()), user_copies(), small_graph(path)
    if kept is None or content is None:
        return open_session(ort, name, options, chosen)
    key, level = copy_key(content, ort.__version__), options.graph_optimization_level
    if graph := kept.read(key):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        with suppress(Exception):  # ONNX Runtime's errors have no class of their own
            return open_session(ort, graph, options, chosen)
        options.graph_optimization_level = level
    opened = []

    def optimise(target: Path) -> None:
        options.optimized_model_filepath = str(target)
        opened.append(open_session(ort, content, options, chosen))

    with suppress(Exception):
        if graph := kept.saved(optimise):
            kept.write(key, graph)
    options.optimized_model_filepath = ""
    return opened[0] if opened else open_session(ort, name, options, chosen)


def graphs_are_safe(version: str) -> bool:
    """Return True if ONNX Runtime keeps what a captured graph reads until it is replayed: see `GRAPHS_FROM`."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= GRAPHS_FROM


def _provider(device: str, available: Sequence[str]) -> str:
    if device not in PROVIDERS:
        raise DeviceError(f"ONNX Runtime has no device {device!r} here; choose one of {', '.join(PROVIDERS)}")
    if PROVIDERS[device] not in available:
        raise DeviceError(f"this ONNX Runtime has no {PROVIDERS[device]}; it has {', '.join(available)}")
    return PROVIDERS[device]


def providers(device: str, cuda: CudaSettings) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's providers for a device, each with its options, in the order of preference."""
    if device == "cpu":
        return [(PROVIDERS["cpu"], {})]
    options = {
        "arena_extend_strategy": {"as-requested": "kSameAsRequested", "doubling": "kNextPowerOfTwo"}[cuda.grow],
        "cudnn_conv_algo_search": cuda.convolution_search.upper(),
        "use_tf32": str(int(cuda.tf32)),
        "enable_cuda_graph": str(int(cuda.graphs)),
    }
    if cuda.memory_limit_mib is not None:
        options["gpu_mem_limit"] = str(cuda.memory_limit_mib << 20)
    chosen = [(PROVIDERS["cuda"], options)]
    return [("TensorrtExecutionProvider", {}), *chosen] if cuda.tensorrt_provider else chosen


def _translated(error: Exception) -> Exception:
    """Convert ONNX Runtime's error about memory or the card into one that a user can act on."""
    text = " ".join(str(error).split())
    if any(word in text.lower() for word in MEMORY_WORDS):
        return DeviceMemoryError(f"out of memory; feed fewer frames at once. ONNX Runtime says: {text[:400]}")
    if "cuda" in text.lower():
        return DeviceError(
            f"the CUDA device failed; see emo-edge doctor, then start again. ONNX Runtime says: {text[:400]}"
        )
    return error


def _named(error: Exception, path: Path) -> Exception:
    """Convert what is left, of a token beyond an embedding table or shapes that do not fit: the graph is at fault."""
    if not type(error).__module__.startswith("onnxruntime"):
        return error
    text = " ".join(str(error).split())
    return CheckpointError(f"{path}: the graph cannot compute this, export it again. ONNX Runtime says: {text[:400]}")


def _ports(ports: Sequence[Any]) -> dict[str, Port]:
    return {port.name: (DTYPES.get(port.type, port.type), fixed_sizes(port.shape)) for port in ports}
