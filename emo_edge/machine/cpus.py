"""Number of CPUs that this process may use: its affinity, and the quotas of its control groups.

Threads beyond a quota make a reading slower: all are stopped for the rest of a period once they have used it up. With
half a CPU, two threads took 10.6 times as long as without a quota, one thread 1.5 times.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.machine.control_groups import group_folders
from emo_edge.utils.processes import read_number, read_text

logger = logging.getLogger(__name__)
ROOT = Path("/")


@dataclass(frozen=True)
class CpuLimits:
    """The CPUs of a machine, and what keeps this process from using all of them."""

    online: int
    """Of the machine."""
    affinity: int
    """That this process may run on."""
    quota: float | None
    """CPU seconds a second that its control groups leave it; None where they set no limit."""
    usable: int
    """Threads that can run at once without being stopped: a quota is rounded down, and 1 is the least."""
    niceness: int
    """Above 0, other programs come first."""


def read_cpu_limits(root: Path = ROOT) -> CpuLimits:
    """Read the limits of this process; below another ``root`` than this machine's, from its files alone."""
    online = (os.cpu_count() if root == ROOT else None) or _online(root)
    affinity, quota = min(_affinity(root) or online, online), _quota(root)
    usable = affinity if quota is None else min(affinity, int(quota))
    return CpuLimits(online, affinity, quota, max(1, usable), _niceness(root))


def usable_cpus() -> int:
    """Return the number of threads that this process can run at once."""
    return read_cpu_limits().usable


def limited_cpus() -> int | None:
    """Return `usable_cpus` where that is less than the machine has; None leaves an engine its own choice."""
    limits = read_cpu_limits()
    return limits.usable if limits.usable < limits.online else None


def worker_threads(workers: int, usable: int) -> int:
    """Return the threads of each of some worker processes, so that all together are no more than the usable CPUs.

    One is the least: more workers than CPUs are a warning, once.
    """
    if workers > usable:
        _warn_of_workers(workers, usable)
    return max(1, usable // workers)


@functools.cache
def _warn_of_workers(workers: int, usable: int) -> None:
    cpus = "1 usable CPU" if usable == 1 else f"{usable} usable CPUs"
    logger.warning("%d workers on %s: more are no faster, and each holds a model of its own in memory", workers, cpus)


def limit_torch_threads() -> None:
    """Let PyTorch compute with no more threads than this process can run at once."""
    import torch

    limit = limited_cpus()
    if limit is not None and torch.get_num_threads() > limit:
        torch.set_num_threads(limit)


def limit_opencv_threads(cv2: Any) -> None:
    """Let OpenCV compute with no more threads than this process can run at once."""
    limit = limited_cpus()
    if limit is not None and cv2.getNumThreads() > limit:
        cv2.setNumThreads(limit)


def _online(root: Path) -> int:
    return max(1, _listed(read_text(root / "sys/devices/system/cpu/online")))


def _affinity(root: Path) -> int:
    """Count the CPUs that this process may run on; 0 where that is unknown."""
    if root == ROOT and hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)", read_text(root / "proc/self/status"), re.MULTILINE)
    return _listed(match[1]) if match else 0


def _niceness(root: Path) -> int:
    """Read the 19th field of ``proc/self/stat``; the second may hold spaces and brackets."""
    fields = read_text(root / "proc/self/stat").rpartition(")")[2].split()
    return int(fields[16]) if len(fields) > 16 and re.fullmatch(r"-?\d+", fields[16]) else 0


def _listed(text: str) -> int:
    """Count the CPUs of a list such as ``0-3,8``."""
    ranges = re.findall(r"(\d{1,6})(?:-(\d{1,6}))?", text)
    return sum(int(last or first) - int(first) + 1 for first, last in ranges)


def _quota(root: Path) -> float | None:
    quotas = [_quota_of(folder, version_2=version_2) for folder, version_2 in group_folders("cpu", root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(folder: Path, *, version_2: bool) -> float | None:
    """Return the CPU seconds a second of one group: microseconds of a period, and the period."""
    if version_2:
        match = re.fullmatch(r"(\d{1,18}) (\d{1,18})\s*", read_text(folder / "cpu.max"))
        quota, period = (int(match[1]), int(match[2])) if match else (None, None)
    else:
        quota, period = (read_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota / period if quota and period and quota > 0 else None
