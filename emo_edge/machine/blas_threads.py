"""Threads of OpenBLAS, which NumPy and OpenCV compute with."""

from __future__ import annotations

import os

THREADS = "OPENBLAS_NUM_THREADS"


def limit_blas_threads() -> None:
    """Choose one thread for this program and its children where the address space is limited, as under ``ulimit -v``.

    OpenBLAS starts its threads when it is loaded, and one whose buffer cannot be mapped ends the process (SIGSEGV).
    A user who sets the variable has chosen. Call it before NumPy is imported.
    """
    try:
        import resource
    except ImportError:
        return
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        os.environ.setdefault(THREADS, "1")
