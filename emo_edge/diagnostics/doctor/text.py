"""The doctor's report as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from emo_edge.diagnostics.doctor.report import DoctorReport, Step
from emo_edge.diagnostics.trials.check import EngineReport
from emo_edge.machine.cpus import CpuLimits
from emo_edge.machine.hardware import Machine, Memory
from emo_edge.machine.jetson import Jetson

ENGINES, STEPS = (
    textwrap.TextWrapper(110, "  ", " " * indent, break_long_words=False, break_on_hyphens=False) for indent in (28, 11)
)


def report_text(report: DoctorReport) -> str:
    """Return a report for people."""
    machine = report.machine
    lines = [f"emo-edge {report.emo_edge}, Python {machine.python}, {machine.system}"]
    lines += ["", "machine", *(f"  {name:<9} {text}" for name, text in _machine_rows(machine))]
    if machine.jetson:
        lines += ["", "Jetson", *(f"  {name:<9} {text}" for name, text in _jetson_rows(machine, machine.jetson))]
    lines += ["", "engines", *(line for engine in report.engines for line in _engine_lines(engine))]
    lines += ["", "what to do", *(line for step in report.steps for line in _step_lines(step))]
    if not report.steps:
        untried = any(_only_starts(engine) for engine in report.engines)
        lines.append("  nothing: all that a reading needs works" + (", as far as it was tried" if untried else ""))
    usable = " and ".join(report.devices) or "nothing yet"
    return "\n".join([*lines, "", f"emo-edge infer runs here on: {usable}"])


def _machine_rows(machine: Machine) -> Iterator[tuple[str, str]]:
    cpu = machine.processor
    yield "CPU", f"{cpu.name}, {cpu.cores} cores, {cpu.architecture}"
    if cpu.limits and (restrictions := _restrictions(cpu.limits)):
        yield "", restrictions
    features = ", ".join(cpu.features or ()) or "without AVX2, AVX-512 and AMX"
    yield "", "features unknown" if cpu.features is None else features
    yield "memory", _memory(machine.memory)
    yield from _cuda_rows(machine)
    for drive in machine.drives:
        yield "disk", f"{drive.free / 1e9:.1f} of {drive.total / 1e9:.1f} GB free at {drive.folder}"
    for camera in machine.cameras:
        yield "camera", f"{camera.device}, {camera.name or 'no name'}" + ("" if camera.opens else ", may not be opened")
    if not machine.cameras:
        yield "camera", "none"


def _restrictions(limits: CpuLimits) -> str:
    """Describe what keeps this process from using all cores; empty where nothing does."""
    parts = [f"affinity of {limits.affinity}"] if limits.affinity < limits.online else []
    parts += [f"quota of {limits.quota:g}"] if limits.quota is not None and limits.quota < limits.online else []
    texts = [f"this process computes with {limits.usable} of them: {', '.join(parts)}"] if parts else []
    texts += [f"nice {limits.niceness}: other programs come first"] if limits.niceness > 0 else []
    return "; ".join(texts)


def _memory(memory: Memory | None) -> str:
    if memory is None:
        return "unknown"
    parts = [f"{memory.total / 1e9:.1f} GB"]
    parts += [f"{memory.available / 1e9:.1f} GB free"] if memory.available is not None else []
    parts += [f"swap {memory.swap / 1e9:.1f} GB" if memory.swap else "no swap"] if memory.swap is not None else []
    parts += [f"this container may use {memory.limit / 1e9:.1f} GB"] if memory.limit else []
    return ", ".join(parts)


def _cuda_rows(machine: Machine) -> Iterator[tuple[str, str]]:
    common = "shares the memory above" if machine.jetson else "memory unknown"
    for device in machine.cuda_devices:
        parts = [device.name, f"{device.memory / 1e9:.1f} GB" if device.memory else common]
        parts += [f"compute capability {device.compute_capability}"] if device.compute_capability else []
        yield "CUDA", ", ".join([*parts, f"driver {device.driver}"] if device.driver else parts)
    if not machine.cuda_devices:
        yield "CUDA", machine.cuda_problem or ("the Jetson's own" if machine.jetson else "no NVIDIA card")
    if machine.cuda_toolkit:
        yield "", f"toolkit {machine.cuda_toolkit}"


def _jetson_rows(machine: Machine, jetson: Jetson) -> Iterator[tuple[str, str]]:
    yield "module", jetson.module or "unknown"
    yield "model", jetson.model or "the device tree names none"
    gpu = f"sm_{jetson.gpu_architecture}" if jetson.gpu_architecture else "architecture unknown"
    gpu += " (CUDA 12 calls it sm_101)" if jetson.gpu_architecture == 110 else ""
    yield "GPU", f"{gpu}, shares the {machine.memory.total / 1e9:.1f} GB" if machine.memory else gpu
    yield "L4T", f"{jetson.l4t or 'unknown'}, JetPack {jetson.jetpack or 'unknown'}"
    power = f"mode {jetson.power_mode.number}, {jetson.power_mode.name}" if jetson.power_mode else "mode unknown"
    others = ", ".join(f"{mode.number} {mode.name}" for mode in jetson.power_modes)
    yield "power", f"{power}; there are {others}" if others else power
    clocks = {True: "fixed, as jetson_clocks does", False: "follow the load", None: "unknown"}
    yield "clocks", clocks[jetson.clocks_fixed]


def _engine_lines(engine: EngineReport) -> list[str]:
    state: str = engine.state
    if engine.state == "missing" and not engine.needed:
        state = "not installed"
    elif _only_starts(engine):
        state = "starts"
    elapsed = f", {engine.seconds:.1f} s" if engine.seconds is not None and engine.state == "works" else ""
    texts = [f"{state}{elapsed}" + (f": {engine.problem}" if engine.problem else "")]
    texts += [f"{name}: {text}" for name, text in engine.facts.items()]
    return ENGINES.wrap(f"{engine.module:<13} {engine.version or '':<11} {'; '.join(texts)}")


def _only_starts(engine: EngineReport) -> bool:
    return engine.state == "works" and engine.facts.get("model", "").startswith(("none", "not"))


def _step_lines(step: Step) -> Iterator[str]:
    yield from STEPS.wrap(f"{step.kind:<8} {step.what}")
    if step.command:
        yield f"           $ {step.command}"
