"""Which engine opens which kind of file. A new runtime is one file and one line here."""

from __future__ import annotations

import importlib
from typing import Any

from emo_edge.errors import DeviceError, MissingExtraError

TENSOR_RUNTIMES = {"onnx": "emo_edge.runtimes.onnx:OnnxSession"}
LANGUAGE_RUNTIMES = {"gguf": "emo_edge.runtimes.llama:LlamaSession"}
DEVICES = ("auto", "cpu", "cuda")


def runtime(target: str) -> Any:
    """Import the class that ``module:name`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def choose_device(wanted: str) -> tuple[str, str]:
    """Return the device and why: ``auto`` takes CUDA where both engines can use it.

    Raises DeviceError for a named device that is missing; nothing falls back silently.
    """
    if wanted not in DEVICES:
        raise DeviceError(f"device {wanted!r} is not one of {', '.join(DEVICES)}")
    if wanted == "cpu":
        return "cpu", "asked for"
    missing = _cuda_problem()
    if wanted == "cuda" and missing:
        raise DeviceError(f"cuda cannot be used: {missing}; use --device cpu")
    if missing:
        return "cpu", missing
    return "cuda", "asked for" if wanted == "cuda" else "both engines can use it"


def _cuda_problem() -> str | None:
    try:
        import llama_cpp
        import onnxruntime
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        raise MissingExtraError(f'an engine cannot be loaded ({error}): pip install "emo-edge[cpu]"') from error
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "onnxruntime was built without CUDA"
    if not llama_cpp.llama_supports_gpu_offload():
        return "llama-cpp-python was built without a GPU backend"
    return None
