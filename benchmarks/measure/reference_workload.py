"""The reference workload: a fixed computation that shows the machine's own speed, timed among the readings.

On a virtual machine what two cores do together may take half as long again for some seconds or minutes, while a large
product hardly notices: small steps wait for each other more often. So this is a chain of small ones, as a reading is.
It does not depend on the model that is measured, so it decides when times are taken again and which reports compare.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from emo_edge.benchmarks.measure.machine import WATCH_S
from emo_edge.machine.cpus import limited_cpus

T = TypeVar("T")
ReferenceWorkload = Callable[[], list[float]]
"""Milliseconds of some chains in a row."""
STEPS, ROWS, WIDTH, CALLS = 40, 96, 256, 3
STEADY = 0.1
"""Fraction by which the machine may be slower than at its best while something is timed: a choice."""
PATIENCE_S, PAUSE_S = 30.0, 0.2


@dataclass(frozen=True)
class Waiting:
    """Seconds that a benchmark spends on a quiet machine. A caller that needs no steady times gives zeros."""

    watch_s: float = WATCH_S
    """The machine is watched for so long before the start."""
    patience_s: float = PATIENCE_S
    """A timed block waits at most so long for the machine's own speed."""


DEFAULT_WAITING = Waiting()
QUICK_WAITING = Waiting(patience_s=2.0)
"""Of a test run, whose times nobody publishes: on a busy machine thirty blocks would wait 30 s each."""


def matmul_chain(threads: int | None) -> ReferenceWorkload:
    """Return the workload: float32 matmuls and GELUs in PyTorch, on the engines' number of threads; None takes all."""
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
        torch.set_num_threads(threads or limited_cpus() or before)
        try:
            return [chain() for _ in range(1 + CALLS)][1:]
        finally:
            torch.set_num_threads(before)

    return timed


class MachineSpeed:
    """The machine's fastest speed in this benchmark, and its speed now."""

    def __init__(self, workload: ReferenceWorkload, patience_s: float = PATIENCE_S) -> None:
        self._workload, self._patience_s, self._fastest = workload, patience_s, math.inf
        self._run_workload()

    def steadily(self, block: Callable[[Callable[[], None]], T]) -> tuple[T, list[float]]:
        """Time a block while the machine is at its own speed: wait for that, and time it again if it did not last.

        Args:
            block: times something, and calls its argument now and then in between, which times the workload.

        Returns:
            The result of the block when the machine was steadiest, and the times of the workload then, at least one.
        """
        give_up = time.monotonic() + self._patience_s
        best: tuple[float, T, list[float]] | None = None
        while best is None or (best[0] > 1 + STEADY and time.monotonic() < give_up):
            while float(np.median(self._run_workload())) > (1 + STEADY) * self._fastest and time.monotonic() < give_up:
                time.sleep(PAUSE_S)
            result, samples = self._sampled(block)
            slow = float(np.percentile(samples, 90)) / self._fastest
            if best is None or slow < best[0]:
                best = slow, result, samples
        return best[1], best[2]

    def _sampled(self, block: Callable[[Callable[[], None]], T]) -> tuple[T, list[float]]:
        samples: list[float] = []
        return block(lambda: samples.extend(self._run_workload())), samples

    def _run_workload(self) -> list[float]:
        times = self._workload()
        self._fastest = min(self._fastest, float(np.median(times)))
        return times


def drift(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the distance of two series of workload times as a fraction of either, by their quartiles.

    Where the machine changed in the middle of a run, the medians of workload and readings may fall on different sides.
    """
    (low, high), (other_low, other_high) = (np.percentile(series, (25, 75)) for series in (first, second))
    return float(max(high / other_low, other_high / low)) - 1


def slowness(series: Sequence[Sequence[float]]) -> list[float]:
    """Return for each series how much slower its slowest tenth is than the fastest tenth of any, as a fraction."""
    fastest = min((float(np.percentile(one, 10)) for one in series), default=math.inf)
    return [float(np.percentile(one, 90)) / fastest - 1 for one in series]
