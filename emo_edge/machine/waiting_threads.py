"""Waiting of OpenMP's threads, which compute llama.cpp's and PyTorch's products: they spin for a moment, then sleep.

A thread that spins keeps the CPU from whoever it waits for: see the decision on waiting threads for the times. OpenMP's
library reads its variables once, when the first of those libraries loads it, and all in a process have the same one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

WAIT = ("GOMP_SPINCOUNT", "1000")
"""Rounds of the loop before a thread sleeps, some 50 microseconds; libgomp's own are 300,000."""
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""A user who sets one of these has chosen."""


def limit_spinning() -> None:
    """Choose for this program and its children; in a program of a user, other libraries keep their own way."""
    if not any(name in os.environ for name in VARIABLES):
        os.environ[WAIT[0]] = WAIT[1]


@contextmanager
def limited_spinning() -> Iterator[None]:
    """Choose for the libraries that a block loads, unless OpenMP's is loaded already."""
    before = WAIT[0] in os.environ
    limit_spinning()
    try:
        yield
    finally:
        if not before:
            os.environ.pop(WAIT[0], None)
