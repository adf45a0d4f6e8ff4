"""Memory, descriptors and threads of this process, as Linux counts them."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

from emo_edge.errors import DeviceError

PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class ProcessState:
    """Resources of a process at one moment."""

    resident_bytes: int
    descriptors: int
    threads: int


def process_state() -> ProcessState:
    """Return the state of this process after a garbage collection; raise DeviceError where there is no ``/proc``."""
    if not PROCESS.is_dir():
        raise DeviceError(f"memory and descriptors are read from {PROCESS}: run it on Linux")
    gc.collect()
    pages = int((PROCESS / "statm").read_text(encoding="ascii").split()[1])
    # The descriptor of the listing itself is one of them.
    descriptors = len(os.listdir(PROCESS / "fd")) - 1
    return ProcessState(pages * os.sysconf("SC_PAGE_SIZE"), descriptors, len(os.listdir(PROCESS / "task")))
