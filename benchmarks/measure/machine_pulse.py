"""How fast the machine is just now: a fixed computation, timed among the readings.

On a virtual machine what two cores do together may take half as long again for some seconds or minutes, while a large
product hardly notices: small steps wait for each other more often. So this is a chain of small ones, as a reading is.
It does not depend on what is measured, so that times may be taken again by it, and reports be told apart by it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from emo_edge.benchmarks.measure.machine import WATCH_S

T = TypeVar("T")
Pulse = Callable[[], list[float]]
"""Milliseconds of some chains in a row."""
STEPS, ROWS, WIDTH, CALLS = 40, 96, 256, 3
STEADY = 0.1
"""How much slower than at its best the machine may be while something is timed, as a share: a choice."""
PATIENCE_S, PAUSE_S = 30.0, 0.2


@dataclass(frozen=True)
class Waiting:
    """Seconds that a benchmark spends on a quiet machine. A caller that needs no steady times gives zeros."""

    watch_s: float = WATCH_S
    """The machine is watched for so long before the start."""
    patience_s: float = PATIENCE_S
    """A timed block waits at most so long for the machine's own speed."""


DEFAULT_WAITING = Waiting()


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


class MachineSpeed:
    """The machine at its fastest in this benchmark, and whether it is so now."""

    def __init__(self, pulse: Pulse, patience_s: float = PATIENCE_S) -> None:
        self._take, self._patience_s, self._fastest = pulse, patience_s, math.inf
        self._pulse()

    def steadily(self, block: Callable[[Callable[[], None]], T]) -> tuple[T, list[float]]:
        """Time a block while the machine is at its own speed: wait for that, and time it again if it did not last.

        Args:
            block: times something, and calls what it is given now and then in between.

        Returns:
            What the block returned the time that the machine was steadiest, and the pulses of that time, at least one.
        """
        give_up = time.monotonic() + self._patience_s
        best: tuple[float, T, list[float]] | None = None
        while best is None or (best[0] > 1 + STEADY and time.monotonic() < give_up):
            while float(np.median(self._pulse())) > (1 + STEADY) * self._fastest and time.monotonic() < give_up:
                time.sleep(PAUSE_S)
            found, pulses = self._watched(block)
            slow = float(np.percentile(pulses, 90)) / self._fastest
            if best is None or slow < best[0]:
                best = slow, found, pulses
        return best[1], best[2]

    def _watched(self, block: Callable[[Callable[[], None]], T]) -> tuple[T, list[float]]:
        pulses: list[float] = []
        return block(lambda: pulses.extend(self._pulse())), pulses

    def _pulse(self) -> list[float]:
        found = self._take()
        self._fastest = min(self._fastest, float(np.median(found)))
        return found


def drift(first: Sequence[float], second: Sequence[float]) -> float:
    """How far apart two series of pulses lie, to either side alike, as a share: from quarter to quarter.

    Where the machine changed in the middle of a run, medians of pulses and of readings need not fall on the same side.
    """
    (low, high), (other_low, other_high) = (np.percentile(series, (25, 75)) for series in (first, second))
    return float(max(high / other_low, other_high / low)) - 1


def slowness(series: Sequence[Sequence[float]]) -> list[float]:
    """How much slower than at its best in any of the series the machine was in each: its slowest tenth, as a share."""
    fastest = min((float(np.percentile(one, 10)) for one in series), default=math.inf)
    return [float(np.percentile(one, 90)) / fastest - 1 for one in series]
