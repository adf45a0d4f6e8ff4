"""Memory, descriptors and threads of this process, as Linux counts them."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """Return the state of this process; raise DeviceError where there is no ``/proc``.

    Objects without a reference are collected first, and glibc gives its free pages back to the system: how many it
    keeps changes by some percent from one opening of a bundle to the next.
    """
    if not PROCESS.is_dir():
        raise DeviceError(f"memory and descriptors are read from {PROCESS}: run it on Linux")
    gc.collect()
    _return_free_pages()
    pages = int((PROCESS / "statm").read_text(encoding="ascii").split()[1])
    # The descriptor of the listing itself is one of them.
    descriptors = len(os.listdir(PROCESS / "fd")) - 1
    return ProcessState(pages * os.sysconf("SC_PAGE_SIZE"), descriptors, len(os.listdir(PROCESS / "task")))


@contextmanager
def quick_states() -> Iterator[None]:
    """Let `process_state` look only at objects that are made meanwhile: those of loaded libraries take 0.2 s each time.

    What is to be closed and collected meanwhile has to be opened meanwhile, too.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _return_free_pages() -> None:
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
