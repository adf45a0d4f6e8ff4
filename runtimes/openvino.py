"""OpenVINO: runs a graph of the bundle on the processor, its matmuls in bfloat16 where the processor has it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emo_edge.errors import CheckpointError, DeviceError, DeviceMemoryError
from emo_edge.machine.cpus import limited_cpus
from emo_edge.runtimes.base.row_batches import RowBatches
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.base.signature_check import Port, differences
from emo_edge.tensors import Tensor, TensorSpec
from emo_edge.utils.native_paths import native_path

DEVICE = "CPU"
REPORTER = "openvino_telemetry"
"""OpenVINO's own package that reports each import to its maker."""
MEMORY_WORDS = ("alloc", "out of memory", "not enough memory")
Precision = Literal["f32", "bf16"]


class OpenVinoSession(TensorSession):
    """An ONNX file in OpenVINO's CPU plugin.

    Args:
        path: the graph; large weights lie next to it.
        inputs: of the graph, as the bundle describes it.
        outputs: of the graph, as the bundle describes it.
        precision: of the arithmetic that the graph leaves in float32 or float16.
        threads: of the CPU; None leaves it to OpenVINO.

    A feed that does not fit in memory is computed in parts. Raises CheckpointError if the file is missing, unreadable
    or not the graph described, DeviceMemoryError where memory is short, ModuleNotFoundError without openvino.

    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        precision: Precision = "f32",
        threads: int | None = None,
    ) -> None:
        super().__init__(inputs, outputs)
        compiled = _compiled(path, precision, threads)
        problems = differences("input", self.inputs, _ports(self.inputs, compiled.inputs))
        problems += differences("output", self.outputs, _ports(self.outputs, compiled.outputs))
        if problems:
            raise CheckpointError(f"{path}: not the graph described: {'; '.join(problems)}")
        self._request: Any = compiled.create_infer_request()
        self._parts = RowBatches()

    def close(self) -> None:
        """Free the engine; a second call does nothing."""
        self._request = None

    def _run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self._request is None:
            raise ValueError("the session is closed")
        return self._parts.run(self._computed, feed)

    def _computed(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            self._request.infer({name: np.ascontiguousarray(value) for name, value in feed.items()}, share_inputs=True)
            # What the request holds is written over by the next call.
            return {spec.name: np.array(self._request.get_tensor(spec.name).data) for spec in self.outputs}
        except (MemoryError, RuntimeError) as error:
            raise _translated(error) from error


def load_openvino() -> Any:
    """Import OpenVINO without the package through which it would report the import to its maker.

    Raises ModuleNotFoundError where OpenVINO is not installed.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    with _unimportable(REPORTER):
        return importlib.import_module("openvino")


def native_precision() -> Precision:
    """Return the precision of this processor's fastest matmuls: bfloat16 where it has instructions for it."""
    offered = load_openvino().Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in offered else "f32"


def engine_facts() -> tuple[str, ...]:
    """Return what numbers depend on besides the graph: OpenVINO's version, the processor and its capabilities."""
    openvino = load_openvino()
    core = openvino.Core()
    offered = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return str(openvino.get_version()), str(core.get_property(DEVICE, "FULL_DEVICE_NAME")), *sorted(offered)


@contextmanager
def _unimportable(name: str) -> Iterator[None]:
    """Make ``import name`` fail, as where it is not installed."""
    previous = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous


def _compiled(path: Path, precision: Precision, threads: int | None) -> Any:
    openvino = load_openvino()
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if count := threads or limited_cpus():
        settings["INFERENCE_NUM_THREADS"] = count
    try:
        # By name: a file that is not ONNX would otherwise be offered to the parsers of every other format.
        reader = importlib.import_module("openvino.frontend").FrontEndManager().load_by_framework("onnx")
        with native_path(path) as name:
            model = reader.convert(reader.load(name))
            return openvino.Core().compile_model(model, DEVICE, settings)
    except Exception as error:
        # The parser's errors and the engine's have no class in common.
        translated = _translated(error)
        if isinstance(translated, DeviceMemoryError):
            raise translated from error
        raise CheckpointError(f"{path}: OpenVINO cannot load this graph: {' '.join(str(error).split())}") from error


def _translated(error: Exception) -> Exception:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(word in text.lower() for word in MEMORY_WORDS):
        return DeviceMemoryError(f"out of memory; feed fewer frames at once. OpenVINO says: {text[:400]}")
    return DeviceError(f"OpenVINO failed; use `device` cpu. It says: {text[:400]}")


def _ports(specs: Sequence[TensorSpec], ports: Sequence[Any]) -> dict[str, Port]:
    """Describe each port under the name that the bundle knows it by; a tensor can have several."""
    known = {spec.name for spec in specs}
    return {min(port.get_names() & known or port.get_names()): _described(port) for port in ports}


def _described(port: Any) -> Port:
    sizes = (None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return np.dtype(port.get_element_type().to_dtype()).name, tuple(sizes)
