"""Registry of the engine for each kind of file and device. A new runtime is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from emo_edge.errors import DeviceError, EmoEdgeError
from emo_edge.runtimes import openvino
from emo_edge.runtimes.base.device_names import DEVICES, GPU_DEVICES
from emo_edge.runtimes.llama_cpp import library
from emo_edge.runtimes.tensorrt import fingerprint
from emo_edge.telemetry import open_onnxruntime
from emo_edge.utils.extras import TEGRA_RELEASE, unloadable

TENSOR_RUNTIMES = {"onnx": "emo_edge.runtimes.onnx:OnnxSession"}
PICTURE_RUNTIMES = {"mmproj": "emo_edge.runtimes.mtmd.encoder:MtmdEncoder"}
LANGUAGE_RUNTIMES = {"gguf": "emo_edge.runtimes.llama_cpp.session:LlamaSession"}
NO_PROVIDER = "onnxruntime was built without CUDA"
NO_GPU_BACKEND = "llama-cpp-python was built without a GPU backend"
FIXES = {
    NO_PROVIDER: 'pip uninstall -y onnxruntime && pip install "emo-edge[cuda]"',
    NO_GPU_BACKEND: 'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-deps --no-cache-dir '
    "--no-binary llama-cpp-python llama-cpp-python",
}
"""Command for each problem that another build of a package solves."""


def runtime(target: str) -> Any:
    """Import the class that ``module:name`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def usable_devices(requested: str, *, language: bool = True) -> list[tuple[str, str]]:
    """Return the devices to try, the best first, each with the reason for its place: ``auto`` has all that can be used.

    With ``language``, llama.cpp must run there, too. Raises DeviceError for a named device that cannot be used,
    MissingExtraError where a package of it is missing; nothing falls back silently.
    """
    if requested not in DEVICES:
        raise DeviceError(f"device {requested!r} is not one of {', '.join(DEVICES)}")
    if requested == "cpu":
        return [("cpu", "asked for")]
    if requested != "auto":
        problem = PROBLEMS[requested]() or (_language_problem() if language and requested in GPU_DEVICES else None)
        if problem:
            raise DeviceError(f"{requested} cannot be used: {problem}{_fix(problem)}; use `device` cpu")
        return [(requested, "asked for")]
    problems = {name: _in_words(PROBLEMS[name], language=language) for name in GPU_DEVICES}
    reasons: list[str] = []
    usable: list[tuple[str, str]] = []
    for name, problem in problems.items():
        if not problem:
            usable.append((name, "; ".join([*reasons, "every engine can use it"])))
        reasons.append(f"not {name}: {problem}" if problem else f"{name} did not start")
    return [*usable, ("cpu", "; ".join(reasons))]


def _in_words(problem_of: Callable[[], str | None], *, language: bool) -> str | None:
    """Describe the problem in a few words, whatever it is: another device can do."""
    try:
        return problem_of() or (_language_problem() if language else None)
    except EmoEdgeError as error:
        return str(error).partition(". ")[0]
    except (ImportError, OSError, RuntimeError) as error:
        return " ".join(str(error).split())[:200]


def _fix(problem: str) -> str:
    """Return the command that installs what a problem is about; empty where no package is the cause."""
    if problem not in FIXES:
        return ""
    jetson = TEGRA_RELEASE.exists()
    return "; emo-edge doctor names this JetPack's own build" if jetson else f". Run: {FIXES[problem]}"


def _tensorrt_problem() -> str | None:
    problem: str | None = fingerprint.tensorrt_problem()
    return problem


def _cuda_problem() -> str | None:
    try:
        onnxruntime = open_onnxruntime()
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        raise unloadable("onnxruntime", error) from error
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return NO_PROVIDER
    return None


def _openvino_problem() -> str | None:
    try:
        openvino.load_openvino()
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        raise unloadable("openvino", error) from error
    return None


def _language_problem() -> str | None:
    try:
        library.import_llama_cpp()
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        raise unloadable("llama_cpp", error) from error
    # Silenced first: asked for a GPU, llama.cpp looks for one and prints what it finds.
    if not library.library().llama_supports_gpu_offload():
        return NO_GPU_BACKEND
    return None


PROBLEMS = {"tensorrt": _tensorrt_problem, "cuda": _cuda_problem, "openvino": _openvino_problem}
"""Problem that keeps this machine from a device, in a few words; None where it has none."""
