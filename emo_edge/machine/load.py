"""CPU time that other processes took while something was measured, and stops of this one by a quota."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emo_edge.machine.control_groups import group_folders
from emo_edge.utils.processes import read_text

BUSY_FRACTION = 0.05
"""Fraction of all CPU time that others may take while something is measured: more makes its times larger."""
STOPPED_FRACTION = 0.02
"""Fraction of a quota's periods in which this process may be stopped."""
ROOT = Path("/")


@dataclass(frozen=True)
class CpuUse:
    """A moment of the machine."""

    used: float | None
    """CPU seconds that all processes used, those that a hypervisor gave to others among them."""
    own: float
    """CPU seconds of this process and of its children that have ended."""
    moment: float
    periods: int = 0
    stops: int = 0
    """Periods of this process's quotas, and those in which it was stopped."""


class BusyWatch:
    """Reasons why a measurement was slow, known when its block ends."""

    def __init__(self) -> None:
        self.reasons: list[str] = []


@contextmanager
def watched_load(root: Path = ROOT) -> Iterator[BusyWatch]:
    """Watch the machine while a block measures something on it."""
    watch, before = BusyWatch(), read_cpu_use(root)
    yield watch
    watch.reasons += busy_reasons(before, read_cpu_use(root), os.cpu_count() or 1)


def read_cpu_use(root: Path = ROOT) -> CpuUse:
    """Read the CPU time used so far."""
    times, (periods, stops) = os.times(), _stops(root)
    own = times.user + times.system + times.children_user + times.children_system
    return CpuUse(read_cpu_seconds(root), own, time.monotonic(), periods, stops)


def busy_reasons(before: CpuUse, after: CpuUse, cores: int) -> list[str]:
    """List what made the time in between longer; empty on a quiet machine."""
    reasons, elapsed = [], after.moment - before.moment
    if before.used is not None and after.used is not None and elapsed > 0:
        others = ((after.used - before.used) - (after.own - before.own)) / elapsed / cores
        if others > BUSY_FRACTION:
            reasons.append(f"others took {others:.0%} of the CPU time")
    stops, periods = after.stops - before.stops, after.periods - before.periods
    if stops > STOPPED_FRACTION * periods:
        reasons.append(f"a CPU quota stopped this process in {stops} of {periods} periods")
    return reasons


def read_cpu_seconds(root: Path = ROOT) -> float | None:
    """Add up ``cpu`` of proc/stat without idle and iowait; guests are counted in user and nice (man 5 proc)."""
    match = re.match(r"cpu +([\d ]+)", read_text(root / "proc/stat"))
    if match is None or not hasattr(os, "sysconf"):
        return None
    ticks = [int(value) for value in match[1].split()][:8]
    return (sum(ticks) - sum(ticks[3:5])) / float(os.sysconf("SC_CLK_TCK"))


def _stops(root: Path) -> tuple[int, int]:
    """Return the periods of this process's quotas and how often it was stopped, those of its control groups added."""
    texts = [read_text(folder / "cpu.stat") for folder, _ in group_folders("cpu", root)]
    periods, stops = (
        sum(int(count) for text in texts for count in re.findall(rf"^{name} (\d+)$", text, re.MULTILINE))
        for name in ("nr_periods", "nr_throttled")
    )
    return periods, stops
