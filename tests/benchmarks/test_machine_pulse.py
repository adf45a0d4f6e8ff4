"""The machine's own pulse: a real computation, and how far two series of it lie apart."""

from __future__ import annotations

import pytest
import torch

from emo_edge.benchmarks.machine_pulse import CALLS, chain_pulse, drift, unsteady


def test_a_pulse_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    found = chain_pulse(1)()
    assert len(found) == CALLS and min(found) > 0
    assert torch.get_num_threads() == before


def test_how_far_two_series_lie_apart() -> None:
    steady, half = [4.0] * 24, [4.0] * 12 + [5.6] * 12
    assert drift(steady, steady) == 0
    assert drift(steady, half) == drift(half, steady) == pytest.approx(0.4)
    assert drift(half, half) == pytest.approx(0.4), "which half a median falls on is chance"
    assert drift(steady, [4.0] * 23 + [40.0]) == 0, "one slow pulse is none"
    assert unsteady(steady) == 0 and unsteady(half) == pytest.approx(0.4)
