"""The reference workload: a real computation, waiting for it, and how far two series of it lie apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest
import torch

from emo_edge.benchmarks.measure import reference_workload
from emo_edge.benchmarks.measure.reference_workload import (
    CALLS,
    DEFAULT_WAITING,
    MachineSpeed,
    drift,
    matmul_chain,
    slowness,
)


def test_the_workload_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    found = matmul_chain(1)()
    assert len(found) == CALLS and min(found) > 0
    assert torch.get_num_threads() == before


def timed(pulses: list[float], patience_s: float, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[float], int]:
    """Time a block that looks twice; return which time was kept, its pulses, and how often it was waited."""
    waits: list[float] = []
    monkeypatch.setattr(reference_workload.time, "sleep", waits.append)
    left: Iterator[float] = chain(pulses, repeat(pulses[-1]))
    blocks = iter(range(1000))

    def block(look: Callable[[], None]) -> int:
        look()
        look()
        return next(blocks)

    kept, seen = MachineSpeed(lambda: [next(left)], patience_s).steadily(block)
    return kept, seen, len(waits)


def test_a_block_is_timed_at_the_machines_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timed([4.0, 4.0, 4.1, 4.0], 60.0, monkeypatch) == (0, [4.1, 4.0], 0)
    waited = timed([4.0, 5.6, 5.6, 4.0, 4.1, 4.2], 60.0, monkeypatch)
    assert waited == (0, [4.1, 4.2], 2), "the machine was slow before"
    again = timed([4.0, 4.0, 4.0, 5.6, 4.0, 4.1, 4.1], 60.0, monkeypatch)
    assert again == (1, [4.1, 4.1], 0), "it became slow in between"


def test_a_machine_that_stays_slow_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timed([4.0, 5.6], 0.0, monkeypatch) == (0, [5.6, 5.6], 0)


def test_a_benchmark_waits_unless_its_caller_gives_no_time_for_it() -> None:
    assert (DEFAULT_WAITING.watch_s, DEFAULT_WAITING.patience_s) == (1.5, 30.0)


def test_how_far_two_series_lie_apart() -> None:
    steady, half = [4.0] * 24, [4.0] * 12 + [5.6] * 12
    assert drift(steady, steady) == 0
    assert drift(steady, half) == drift(half, steady) == pytest.approx(0.4)
    assert drift(half, half) == pytest.approx(0.4), "which half a median falls on is chance"
    assert drift(steady, [4.0] * 23 + [40.0]) == 0, "one slow pulse is none"
    assert slowness([steady, half, [4.8] * 9]) == pytest.approx([0, 0.4, 0.2]) and slowness([]) == []
