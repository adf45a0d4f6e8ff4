"""How fast the machine is just now: a fixed computation, timed among the readings.

On a virtual machine what two cores do together may take a third longer for some seconds or minutes, while a large
product hardly notices: small steps wait for each other more often. So this is a chain of small ones, as a reading is.
Two reports tell a slow machine from a slower program by it, since it is the same in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

Pulse = Callable[[], list[float]]
"""Milliseconds of some chains in a row."""
STEPS, ROWS, WIDTH, CALLS = 40, 96, 256, 3


def chain_pulse(threads: int | None) -> Pulse:
    """Make the pulse: float32 products and GELUs in PyTorch, on as many threads as the engines have; None takes all."""
    import torch

    weights = torch.randn(STEPS, WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)) / WIDTH**0.5
    start = torch.ones(ROWS, WIDTH)

    @torch.inference_mode()
    def chain() -> float:
        values, started = start, time.perf_counter()
        for weight in weights:
            values = torch.nn.functional.gelu(values @ weight)
        return 1000 * (time.perf_counter() - started)

    def timed() -> list[float]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            return [chain() for _ in range(1 + CALLS)][1:]
        finally:
            torch.set_num_threads(before)

    return timed


def drift(first: Sequence[float], second: Sequence[float]) -> float:
    """How far apart two series of pulses lie, to either side alike, as a share: from quarter to quarter.

    Where the machine changed in the middle of a run, medians of pulses and of readings need not fall on the same side.
    """
    (low, high), (other_low, other_high) = (np.percentile(series, (25, 75)) for series in (first, second))
    return float(max(high / other_low, other_high / low)) - 1


def unsteady(series: Sequence[float]) -> float:
    """How far the machine moved within one series, as a share: from the tenth of a hundred to the ninetieth."""
    low, high = np.percentile(series, (10, 90))
    return float(high / low) - 1
