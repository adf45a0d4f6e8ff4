"""ONNX Runtime: runs a graph of the bundle on the CPU or an NVIDIA card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError, DeviceError
from emo_edge.sessions import Tensor, TensorSession, TensorSpec

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
FATAL = 4
"""Log level: what goes wrong is raised, so nothing else need be printed."""


class OnnxSession(TensorSession):
    """An ONNX file in ONNX Runtime.

    Args:
        path: the graph; large weights lie beside it.
        inputs: what the bundle says the graph reads.
        outputs: what the bundle says it returns.
        device: ``cpu`` or ``cuda``; nothing falls back to the other.
        threads: of the CPU, for one operator; None leaves it to ONNX Runtime.

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
    ) -> None:
        super().__init__(inputs, outputs)
        self._session: Any = _opened(path, device, threads)
        problems = _differences("input", self.inputs, self._session.get_inputs())
        problems += _differences("output", self.outputs, self._session.get_outputs())
        if problems:
            self.close()
            raise CheckpointError(f"{path}: not the graph described: {'; '.join(problems)}")

    def close(self) -> None:
        """Free the engine; a second call does nothing."""
        self._session = None

    def _run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self._session is None:
            raise ValueError("the session is closed")
        names = [spec.name for spec in self.outputs]
        try:
            values = self._session.run(names, dict(feed))
        except Exception as error:
            # ONNX Runtime's errors share no class of their own.
            if "alloc" not in str(error):
                raise
            raise DeviceError(f"out of memory; feed fewer frames at once. ONNX Runtime says: {error}") from error
        return dict(zip(names, values, strict=True))


def _opened(path: Path, device: str, threads: int | None) -> Any:
    import onnxruntime as ort

    provider = _provider(device, ort.get_available_providers())
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads or 0
    # Waiting threads that spin starve what runs beside: 40 instead of 24 ms an image on two busy cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        if "alloc" in str(error):
            raise DeviceError(f"{path}: not enough memory. ONNX Runtime says: {error}") from error
        raise CheckpointError(f"{path}: ONNX Runtime cannot load this graph: {error}") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(f"{device} could not be started; ONNX Runtime offers only {session.get_providers()}")
    session.disable_fallback()
    return session


def _provider(device: str, available: Sequence[str]) -> str:
    if device not in PROVIDERS:
        raise DeviceError(f"ONNX Runtime has no device {device!r} here; choose one of {', '.join(PROVIDERS)}")
    if PROVIDERS[device] not in available:
        raise DeviceError(f"this ONNX Runtime has no {PROVIDERS[device]}; it has {', '.join(available)}")
    return PROVIDERS[device]


def _differences(kind: str, specs: Sequence[TensorSpec], found: Sequence[Any]) -> list[str]:
    described = {spec.name: (spec.dtype, _sizes(spec.shape)) for spec in specs}
    held = {value.name: (DTYPES.get(value.type, value.type), _sizes(value.shape)) for value in found}
    return [
        f"{kind} {name} is {_words(held.get(name))}, described as {_words(described.get(name))}"
        for name in sorted(described.keys() | held.keys())
        if described.get(name) != held.get(name)
    ]


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    # The names of varying axes do not matter.
    return tuple(size if isinstance(size, int) else None for size in shape)


def _words(value: tuple[str, tuple[int | None, ...]] | None) -> str:
    if value is None:
        return "missing"
    dtype, sizes = value
    return f"{dtype} [{', '.join('*' if size is None else str(size) for size in sizes)}]"
