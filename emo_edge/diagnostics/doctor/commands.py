"""Shell commands that install or build engines."""

from __future__ import annotations

import shlex

from emo_edge.diagnostics.doctor.facts import Facts

HEADLESS_OPENCV = '"opencv-python-headless<5"'
AMX_FLAGS = 'CXXFLAGS="-fno-tree-dse -fno-dse -frecord-gcc-switches"'
"""Compiler flags against the fault of gcc 12 in llama.cpp's AMX kernels."""
REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"


def build_flags(facts: Facts, *, amx: bool = False) -> str:
    """Return the settings to build llama.cpp with here: for the GPU, and against gcc 12's fault where there is AMX."""
    flags = 'CMAKE_ARGS="-DGGML_CUDA=on" ' if facts.has_gpu else ""
    return flags + (f"{AMX_FLAGS} " if amx or "AMX" in (facts.machine.processor.features or ()) else "")


def open_environment(environment: str) -> str:
    """Return the command that lets a virtual environment use the system's packages."""
    return f"python3 -m venv --system-site-packages {shlex.quote(environment)}"
