"""Steps for the hardware, and for what works but slowly."""

from __future__ import annotations

from collections.abc import Iterator

from emo_edge.diagnostics.doctor.commands import REBUILD, build_flags
from emo_edge.diagnostics.doctor.facts import Facts
from emo_edge.diagnostics.doctor.report import Step
from emo_edge.machine.hardware import Machine
from emo_edge.machine.jetson import Jetson, fastest_mode

LITTLE_DISK_SPACE = 1_000_000_000
"""Bytes; the demo's bundle takes 0.05 GB, one of seven billion parameters 7."""


def hardware_steps(machine: Machine) -> Iterator[Step]:
    """Yield steps for a driver that fails, cameras that may not be opened and disks that are almost full."""
    if machine.cuda_problem and not machine.jetson:
        outdated = "mismatch" in machine.cuda_problem
        fix = "the driver was updated: restart" if outdated else "restart, or start this container with its GPUs"
        yield Step("broken", f"{machine.cuda_problem}; {fix}", "sudo reboot" if outdated else None)
    closed = [camera.device for camera in machine.cameras if not camera.opens]
    if closed:
        what = f"{', '.join(closed)} may not be opened; log in again after this"
        yield Step("broken", what, 'sudo usermod -aG video "$USER"')
    for drive in machine.drives:
        if drive.free < LITTLE_DISK_SPACE:
            what = f"disk space: {drive.free / 1e9:.1f} GB free at {drive.folder}; XDG_CACHE_HOME moves the cache"
            yield Step("missing", what, None)


def slow_steps(facts: Facts) -> Iterator[Step]:
    """Yield steps that cost or save time alone."""
    yield from _slow_llama(facts)
    yield from _slow_onnxruntime(facts)
    if facts.machine.jetson:
        yield from _slow_jetson(facts.machine.jetson)


def _slow_llama(facts: Facts) -> Iterator[Step]:
    llama = facts.working.get("llama_cpp", {})
    amx = llama.get("amx", "works")
    if amx.startswith("avoided"):
        what = "llama.cpp's AMX path crashes as it was built, so that prompts take longer"
        yield Step("slow", what, build_flags(facts, amx=True) + REBUILD)
    elif amx != "works":
        yield Step("slow", "llama.cpp's AMX path was not proved with a model", "emo-edge doctor --bundle BUNDLE")
    if llama.get("gpu") == "not built in" and facts.has_gpu:
        yield Step("slow", "llama.cpp was built without CUDA", build_flags(facts) + REBUILD)


def _slow_onnxruntime(facts: Facts) -> Iterator[Step]:
    onnx = facts.working.get("onnxruntime", {})
    if not onnx or "cuda" in onnx:
        return
    if facts.machine.jetson:
        yield Step("slow", "onnxruntime has no CUDA; NVIDIA builds onnxruntime-gpu for each JetPack", None)
    elif facts.machine.cuda_devices:
        command = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        yield Step("slow", "onnxruntime was built without CUDA", command)


def _slow_jetson(jetson: Jetson) -> Iterator[Step]:
    fastest = fastest_mode(jetson.power_modes)
    if fastest and jetson.power_mode and fastest.number != jetson.power_mode.number:
        what = f"power mode {jetson.power_mode.name}; {fastest.name} is the fastest and takes the most power"
        yield Step("slow", what, f"sudo nvpmodel -m {fastest.number}")
    if jetson.clocks_fixed is False:
        yield Step("slow", "clocks follow the load: fix them before measuring", "sudo jetson_clocks")
