"""The machine of a benchmark: its hardware, and its state before and after, which shows a busy or hot one."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

import emo_edge
from emo_edge.machine.hardware import Machine, read_cpu_entries, read_machine
from emo_edge.machine.load import BUSY_FRACTION, read_cpu_seconds
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.processes import TOOL_SECONDS, Run, read_number, read_text, run_bounded

LIBRARIES = (
    "emo-edge",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "llama-cpp-python",
    "tensorrt",
    "torch",
    "transformers",
    "tokenizers",
    "opencv-python-headless",
)
BUSY_LOAD = 0.5
"""Processes of others for each core before the benchmark begins; used where proc/stat is missing."""
WATCH_S = 1.5
"""Before the start: the load of the last minute is as a rule that of the run before this one."""
ROOT = Path("/")


@dataclass(frozen=True)
class State:
    """A moment of the machine."""

    shown: dict[str, Any]
    """``load``, ``mhz`` and ``temperatures`` as the report has them."""
    throttles: int | None
    """Events that the processors counted since the start; None where they report none."""
    used: float | None
    """CPU seconds that all processes used, those that a hypervisor gave to others among them."""
    own: float
    """CPU seconds of this process and of its children that have ended."""
    moment: float
    others: float | None = None
    """CPU seconds a second that others took just before; None where it was not watched."""


def read_state(root: Path = ROOT) -> State:
    """Read the state of the machine now; None or empty where it reports nothing."""
    times = os.times()
    return State(
        {"load": _load(root), "mhz": _mhz(root), "temperatures": _temperatures(root)},
        _throttles(root),
        read_cpu_seconds(root),
        times.user + times.system + times.children_user + times.children_system,
        time.monotonic(),
    )


def watched_state(root: Path = ROOT, watch_s: float = WATCH_S) -> State:
    """Watch the machine for ``watch_s`` seconds, then read its state as `read_state` does."""
    first = read_state(root)
    time.sleep(watch_s)
    last = read_state(root)
    return replace(last, others=_others(first, last))


def machine_section(
    before: State, after: State, device: str, threads: int | None, root: Path = ROOT, run: Run = run_bounded
) -> dict[str, Any]:
    """Return ``machine`` of the report; ``threads`` None is each engine's own choice."""
    machine = read_machine(root, run=run)
    jetson = machine.jetson
    reasons = busy_reasons(before, after, machine.processor.cores)
    throttled = None
    if before.throttles is not None and after.throttles is not None:
        throttled = after.throttles > before.throttles
    return {
        "description": describe_machine("cpu"),
        "cpu": machine.processor.name,
        "cores": machine.processor.cores,
        "memory": machine.memory.total if machine.memory else None,
        "gpu": _gpu(machine),
        "device": device,
        "system": machine.system,
        "governor": read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "power_mode": jetson.power_mode.name if jetson and jetson.power_mode else None,
        "clocks_fixed": jetson.clocks_fixed if jetson else None,
        "versions": {"python": machine.python, **_versions()},
        "threads": dict.fromkeys(("onnxruntime", "llama.cpp", "torch"), threads),
        "git": _git(run),
        "before": before.shown,
        "after": after.shown,
        "throttled": throttled,
        "busy": bool(reasons),
        "busy_reason": "; ".join(reasons) or None,
    }


def busy_reasons(before: State, after: State, cores: int) -> list[str]:
    """List how other processes kept this machine busy, before or during the benchmark."""
    reasons = []
    load = before.shown["load"]
    if before.others is not None:
        if before.others / cores > BUSY_FRACTION:
            reasons.append(f"others took {before.others / cores:.0%} of the CPU time before the start")
    elif before.used is None and load and load[0] > BUSY_LOAD * cores:
        reasons.append(f"load {load[0]:.2f} at the start")
    others = _others(before, after)
    if others is not None and others / cores > BUSY_FRACTION:
        reasons.append(f"others took {others / cores:.0%} of the CPU time")
    return reasons


def _others(before: State, after: State) -> float | None:
    """CPU seconds a second that others took in between; None where the system does not report it."""
    if before.used is None or after.used is None or after.moment <= before.moment:
        return None
    return ((after.used - before.used) - (after.own - before.own)) / (after.moment - before.moment)


def _gpu(machine: Machine) -> str | None:
    if machine.cuda_devices:
        return machine.cuda_devices[0].name
    return machine.jetson.module if machine.jetson else None


def _load(root: Path) -> list[float] | None:
    match = re.match(r"([\d.]+) ([\d.]+) ([\d.]+) ", read_text(root / "proc/loadavg"))
    return [float(value) for value in match.groups()] if match else None


def _mhz(root: Path) -> float | None:
    """Mean clock of the cores."""
    folder = root / "sys/devices/system/cpu"
    clocks = [read_number(path) for path in folder.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [clock / 1000 for clock in clocks if clock]
    known = known or [
        float(value) for value in read_cpu_entries(root).get("cpu MHz", []) if re.fullmatch(r"\d+(\.\d+)?", value)
    ]
    return round(fmean(known), 1) if known else None


def _temperatures(root: Path) -> dict[str, float]:
    """Degrees Celsius by the name of the thermal zone; zones that are switched off report none."""
    degrees = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = read_number(zone / "temp")
        if value is not None and value > 0:
            name = read_text(zone / "type").strip() or zone.name
            degrees[name if name not in degrees else f"{name} {zone.name[12:]}"] = value / 1000
    return degrees


def _throttles(root: Path) -> int | None:
    """Sum x86's counters of cores held back by heat (Linux, arch/x86/kernel/cpu/mce/therm_throt.c)."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [count for path in files if (count := read_number(path)) is not None]
    return sum(counts) if counts else None


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _git(run: Run) -> dict[str, Any] | None:
    """Revision of the checkout that this package runs from; None where it was installed without one."""
    folder = str(Path(emo_edge.__file__).parent)
    revision = run(["git", "-C", folder, "rev-parse", "HEAD"], TOOL_SECONDS)
    if revision.problem or "site-packages" in folder:
        return None
    changes = run(["git", "-C", folder, "status", "--porcelain"], TOOL_SECONDS)
    return {"revision": revision.output.strip(), "dirty": bool(changes.output.strip())}
