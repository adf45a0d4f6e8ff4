"""Time one call with cold caches."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

ROUNDS, LEAST_ROUNDS, LONGEST_S = 15, 3, 1.0
"""Times of each probe, of which the median counts; fewer where they take longer than this in all."""
EVICTED = 32 << 20
"""Bytes that are written between two calls: more than the caches that a core has to itself."""


def median_seconds(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Return the median time of a call after one that does not count, each with caches that something else filled.

    In inference each network runs after another one, so that its weights come from memory. ``before`` runs directly
    before each call; its time does not count.
    """
    before()
    call()
    seconds: list[float] = []
    other = np.zeros(EVICTED, np.uint8)
    while len(seconds) < ROUNDS and (len(seconds) < LEAST_ROUNDS or sum(seconds) < LONGEST_S):
        other += 1
        before()
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
