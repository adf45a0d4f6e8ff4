"""Time calls and describe the distribution of their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LEAST_TIMES = 20
"""Raw times on each side that estimates of a median's error and of their autocorrelation need at least."""
STABLE, LONGEST_WARMUP = 0.03, 5
"""Largest relative difference of two windows' medians that are stable, and the number of windows that ends the wait."""
DIGITS = 4
Distribution = dict[str, Any]


def distribution(values: Sequence[float]) -> Distribution:
    """Describe times in milliseconds, the raw ones in the order they were measured."""
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    figures = {"p50": p50, "p90": p90, "p99": p99, "min": min(values), "mean": float(np.mean(values))}
    rounded: Distribution = {name: round(float(value), DIGITS) for name, value in figures.items()}
    return rounded | {"samples": len(values), "raw": [round(value, DIGITS) for value in values]}


def timed_ms(call: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def warm_up(call: Callable[[int], float], window: int) -> tuple[int, bool]:
    """Call until the medians of two windows in a row agree; return the number of calls, and True if they agreed.

    Args:
        call: gets its number within the window and returns its own milliseconds.
        window: calls of one; every window sees the same pictures.
    """
    medians: list[float] = []
    while len(medians) < LONGEST_WARMUP:
        medians.append(float(np.median([call(index) for index in range(window)])))
        if len(medians) > 1 and abs(medians[-1] - medians[-2]) <= STABLE * medians[-2]:
            return window * len(medians), True
    return window * len(medians), False
