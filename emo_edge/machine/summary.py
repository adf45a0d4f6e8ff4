"""Summary of the machine that a figure was measured on, in one line."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from emo_edge.machine.hardware import read_cpu_entries

LIBRARIES = ("emo-edge", "torch", "transformers", "numpy", "opencv-python-headless")


def describe_machine(device: str = "cpu") -> str:
    """Return one line: processor, cores, the device if it is not the processor, Python and library versions."""
    libraries = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    return f"{describe_processor()}, {_accelerator(device)}Python {platform.python_version()}, {libraries}"


def describe_processor() -> str:
    """Return the processor and how many cores it has."""
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    entries = read_cpu_entries()
    if not entries:
        return platform.processor() or platform.machine()
    return f"{next(iter(entries.get('model name', [])), 'unknown processor')} ({platform.machine()})"


def _accelerator(device: str) -> str:
    if not device.startswith("cuda"):
        return ""
    import torch

    return f"{torch.cuda.get_device_name(device)}, "


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
