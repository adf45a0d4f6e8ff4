"""The extras of the package, and the error that names the one to install."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from emo_edge.errors import EmoEdgeError, MissingExtraError
from emo_edge.utils.memory import is_out_of_memory, memory_error

EXTRAS = {
    "cv2": "cpu",
    "av": "cpu",
    "onnxruntime": "cpu",
    "llama_cpp": "cpu",
    "tokenizers": "cpu",
    "openvino": "openvino",
    "cuda": "cuda",
    "tensorrt": "cuda",
    "tensorrt_rtx": "cuda",
    "PIL": "photos",
    "pillow_heif": "photos",
    "optimum": "peers",
    "tqdm": "bench",
    "pyarrow": "table",
    "openpyxl": "sheets",
    "ray": "ray",
    "fsspec": "store",
    "torch": "export",
    "transformers": "export",
    "safetensors": "export",
    "sentencepiece": "export",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "gguf": "export",
    "h5py": "export",
    "tritonclient": "triton",
    "grpc": "triton",
    "starlette": "serve",
    "uvicorn": "serve",
    "h11": "serve",
    "websockets": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
}
"""Extra that brings each optional module."""
ON_JETSON = {
    "cv2": "JetPack has OpenCV: make the virtual environment with --system-site-packages",
    "onnxruntime": "Run: pip install onnxruntime",
}
"""Advice on a Jetson, where the extra would install another OpenCV over JetPack's."""
LIBRARIES = {
    "libGL.so": "apt install libgl1, or opencv-python-headless instead of opencv-python",
    "libgthread-2.0.so": "apt install libglib2.0-0",
    "libglib-2.0.so": "apt install libglib2.0-0",
    "libgomp.so": "apt install libgomp1",
    "libstdc++.so": "apt install libstdc++6",
    "libopenblas.so": "apt install libopenblas0",
    "libtbb": "apt install libtbb12",
    "libcuda.so": "install NVIDIA's driver, or use a build for the CPU",
    "libnvinfer": 'pip install "emo-edge[tensorrt]", or on a Jetson the TensorRT of JetPack',
    "libcu": 'pip install "emo-edge[cuda]", or the CUDA libraries of that version, or a build for the CPU',
    "libnv": 'pip install "emo-edge[cuda]", or the CUDA libraries of that version, or a build for the CPU',
}
"""Step that brings a shared library, by the start of its name; the first that fits."""
_MISSING_LIBRARY = re.compile(r"(?P<name>[\w.+-]+\.so[.\w]*|[\w.+-]+\.(?:dll|dylib)): cannot open shared object file")
_LATE_LIBRARY = re.compile(r"(?P<path>\S+): cannot allocate memory in static TLS block")
_LOADER = re.compile(
    r"cannot open shared object file|undefined symbol|version `[^']+' not found|invalid ELF header|file too short|"
    r"wrong ELF class|static TLS block|failed to map segment|Failed to load shared library"
)
"""Words of the C library's loader and of llama-cpp-python's."""
_INSTALLED = re.compile(r"(?:site|dist)-packages[/\\\\](\w+)[/\\\\]")
_NOT_PACKAGES = {"emo_edge", "click", "__main__", "None", *sys.stdlib_module_names}
TEGRA_RELEASE = Path("/etc/nv_tegra_release")


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError:
    """Convert a failed import to the command that installs it; re-raise what no extra brings."""
    module = _package(error)
    if module not in EXTRAS:
        raise error
    if module in ON_JETSON and TEGRA_RELEASE.exists():
        return MissingExtraError(f"{module} is not installed. {ON_JETSON[module]}")
    return MissingExtraError(f'{module} is not installed. Run: pip install "emo-edge[{EXTRAS[module]}]"')


def unloadable(module: str, error: BaseException) -> EmoEdgeError:
    """Convert the failure to load a package: it is not there, lacks a shared library, or memory is too short for it."""
    if isinstance(error, ModuleNotFoundError) and _package(error) in EXTRAS:
        return missing_extra(error)
    if is_out_of_memory(error):
        return memory_error(module, error)
    reason = " ".join(str(error).split())[:300]
    if late := _LATE_LIBRARY.search(reason):
        return MissingExtraError(
            f"{module} is installed and cannot be loaded: {Path(late['path']).name} has to be loaded before all. "
            f"Do: export LD_PRELOAD={late['path']}"
        )
    missing = _MISSING_LIBRARY.search(reason)
    if missing is None:
        extra = EXTRAS.get(module)
        step = f'pip install --force-reinstall "emo-edge[{extra}]"' if extra else f"install {module} again"
        return MissingExtraError(f"{module} is installed and cannot be loaded ({reason}). Run: {step}")
    name = missing["name"]
    steps = (step for start, step in LIBRARIES.items() if name.startswith(start))
    step = next(steps, f"install the package of your system that holds {name}")
    return MissingExtraError(
        f"{module} is installed and cannot be loaded: the shared library {name} is missing. Do: {step}"
    )


def loader_command(problem: str) -> str | None:
    """Return the command after which a library is found that the loader's message misses; None if no such is known."""
    if late := _LATE_LIBRARY.search(problem):
        return f"export LD_PRELOAD={late['path']}"
    missing = _MISSING_LIBRARY.search(problem)
    steps = (step for start, step in LIBRARIES.items() if missing and missing["name"].startswith(start))
    step = next(steps, "").partition(",")[0]
    return f"sudo {step}" if step.startswith("apt install") else None


def is_failed_load(error: BaseException) -> TypeGuard[ImportError | OSError | RuntimeError]:
    """Return whether a package could not be imported: some raise what the loader says as OSError or RuntimeError."""
    if isinstance(error, OSError):
        return error.errno is None and bool(_LOADER.search(str(error)))
    return isinstance(error, ImportError) or (isinstance(error, RuntimeError) and bool(_LOADER.search(str(error))))


def failed_import(error: ImportError | OSError | RuntimeError) -> EmoEdgeError:
    """Convert any failed import: of a package that is not there, or of one that does not load."""
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error)
    module = _package(error)
    if module not in EXTRAS and not (is_out_of_memory(error) or _LOADER.search(str(error))):
        raise error
    return unloadable(module or "a native library", error)


def _package(error: BaseException) -> str:
    """Return the package that failed; where a library inside it did, the one whose folder that or its caller is in."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if name in EXTRAS or isinstance(error, ModuleNotFoundError):
        return name
    if inside := _INSTALLED.search(getattr(error, "path", None) or ""):
        return inside[1]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    callers = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame in reversed(frames)]
    return next((caller for caller in callers if caller not in _NOT_PACKAGES), name)


def installed_packages(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    import importlib.metadata  # takes its time, and every command imports this module

    versions = {}
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name) or "unknown"
    return versions
