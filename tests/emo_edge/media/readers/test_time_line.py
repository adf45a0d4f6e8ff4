"""Positions of frames whose time stamps jump, stand still, run back or are missing: every frame advances."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.media.readers.time_line import Position, on_time_line

STEP = 0.1


class Stamped:
    duration = 0.0

    def __init__(self, stamp: float | None) -> None:
        self.stamp, self.kept = stamp, False

    def keep(self) -> None:
        self.kept = True

    def pixels(self) -> NDArray[np.uint8]:
        return np.zeros((1, 1, 3), np.uint8)


def placed(stamps: list[float | None], step: float = STEP) -> list[Position]:
    return [position for _, position in on_time_line(map(Stamped, stamps), step)]


def check(stamps: list[float | None], segments: list[int], seconds: list[float], step: float = STEP) -> None:
    positions = placed(stamps, step)
    assert [position.segment for position in positions] == segments
    assert [position.seconds for position in positions] == pytest.approx(seconds)


def test_a_line_without_jumps_begins_at_zero() -> None:
    check([1.6, 1.7, 1.8], [0] * 3, [0, 0.1, 0.2])
    check([-0.2, -0.1, 0, 0.1], [0] * 4, [0, 0.1, 0.2, 0.3])
    assert [position.elapsed_s for position in placed([5, 5.1])] == pytest.approx([0, 0.1])


@pytest.mark.parametrize("start", [0.0, -7.0, 500.0, 95443.7])
def test_a_jump_begins_a_segment(start: float) -> None:
    second = [start, start + 0.1, start + 0.2]
    check([1.0, 1.1, 1.2, 1.3, 1.4, *second], [0] * 5 + [1] * 3, [0, 0.1, 0.2, 0.3, 0.4, 0, 0.1, 0.2])
    assert placed([1.0, 1.1, *second])[-1].elapsed_s == pytest.approx(0.4)


@pytest.mark.parametrize("spike", [1000.0, 5.0, -5.0, -1e9])
def test_one_spiked_frame_costs_nothing(spike: float) -> None:
    check([0, 0.1, 0.2, spike, 0.4, 0.5], [0] * 6, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    check([0, 0.1, 0.2, spike], [0] * 4, [0, 0.1, 0.2, 5.0 if spike == 5 else 0.3])
    # Five seconds further is a gap, wherever it is.
    check([spike, 0, 0.1, 0.2], [0] * 4, [0, 5.0, 5.1, 5.2] if spike == -5 else [0, 0.1, 0.2, 0.3])


def test_a_first_frame_is_off_the_line_where_the_next_two_are_on_one() -> None:
    check([0, 500.0, 90.0, 90.1], [0, 1, 1, 1], [0, 0, 0.1, 0.2])
    check([0, 500.0, 90.0, 3.0], [0, 1, 2, 2], [0, 0, 0, 0.1])
    check([0, 500.0], [0, 0], [0, 0.1])


def test_gaps_of_a_variable_rate_stay() -> None:
    check([0, 0.03, 0.07, 1.07, 2.07, 12.07], [0] * 6, [0, 0.03, 0.07, 1.07, 2.07, 12.07], step=1 / 30)
    check([0, 90, 180, 181], [0] * 4, [0, 90, 180, 181], step=90)


def test_stamps_that_stand_still_or_swap_advance() -> None:
    check([0.0] * 4, [0] * 4, [0, 0.1, 0.2, 0.3])
    check([None] * 3, [0] * 3, [0, 0.1, 0.2])
    swapped = placed([0, 0.2, 0.1, 0.4, 0.3, 0.6, 0.5, 0.8])
    assert {position.segment for position in swapped} == {0}
    assert swapped[-1].seconds == pytest.approx(0.8)


def test_a_frame_is_kept_before_the_next_one_is_asked_for() -> None:
    frames = [Stamped(stamp) for stamp in (0, 0.1, 50, 50.1)]
    list(on_time_line(iter(frames), STEP))
    assert [frame.kept for frame in frames] == [False, False, True, False]


def test_whatever_the_stamps_are_no_frame_is_lost_and_time_runs_forward() -> None:
    draw = random.Random(0)
    for _ in range(500):
        stamps = [draw.choice([None, draw.gauss(0, 10), draw.uniform(0, 1), 1e9, -1e9, 0.0]) for _ in range(40)]
        positions = placed(stamps)
        assert len(positions) == 40
        for one, other in itertools.pairwise(positions):
            assert other.elapsed_s >= one.elapsed_s
            assert other.segment in (one.segment, one.segment + 1)
            assert other.seconds >= one.seconds if other.segment == one.segment else other.seconds == 0
