"""Summary of the machine that a figure was measured on, in one line."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from emo_edge.machine.cpus import read_cpu_limits
from emo_edge.machine.hardware import read_cpu_entries

LIBRARIES = ("emo-edge", "torch", "transformers", "numpy", "opencv-python-headless")


def describe_machine(device: str = "cpu") -> str:
    """Return one line: processor, cores, the device if it is not the processor, Python and library versions."""
    libraries = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    return f"{describe_processor()}, {_accelerator(device)}Python {platform.python_version()}, {libraries}"


def describe_processor() -> str:
    """Return the processor, how many cores it has, and how many this process may use where that is less."""
    limits = read_cpu_limits()
    text = f"{_processor()}, {limits.online} cores"
    return text if limits.usable == limits.online else f"{text}, {limits.usable} of them used"


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
