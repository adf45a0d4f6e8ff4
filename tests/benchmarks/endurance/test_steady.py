"""Growth over many rounds: hand-made states, a leak on purpose, and a short run of the real program."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from emo_edge.benchmarks.endurance.steady import Steadiness, openings, watched_rounds
from emo_edge.benchmarks.measure.process_state import ProcessState, process_state
from emo_edge.console.children import code_command
from emo_edge.inference.pipeline import EmotionPipeline


def steady(*resident: int, descriptors: tuple[int, int] = (5, 5), threads: tuple[int, int] = (2, 2)) -> Steadiness:
    ends = {0: (descriptors[0], threads[0]), len(resident) - 1: (descriptors[1], threads[1])}
    states = (ProcessState(size, *ends.get(number, (9, 9))) for number, size in enumerate(resident))
    return Steadiness(100, 1.0, tuple(states))


def test_growth_is_from_median_to_median() -> None:
    first, last = (100, 300, 100), (110, 900, 110)
    one = steady(*first, *[500] * 18, *last)
    assert one.growth == pytest.approx(0.1)
    assert one.problems(0.05) == ["memory grew by 10.00 %"]
    assert one.problems(0.11) == []
    assert steady(100, 90).problems(0) == []


def test_descriptors_and_threads_may_not_grow() -> None:
    assert steady(1, 1, descriptors=(3, 5)).problems(0) == ["2 more descriptors"]
    assert steady(1, 1, threads=(1, 2)).problems(0) == ["1 more threads"]


def test_a_leak_is_seen() -> None:
    kept, size = [], process_state().resident_bytes // 100

    def leak() -> Iterator[None]:
        while True:
            kept.append(b"x" * size)
            yield

    assert watched_rounds(leak(), 60, states=6).growth > 0.2


def test_work_without_a_leak_is_steady() -> None:
    run = watched_rounds(itertools.repeat(None), 1000, states=5)
    assert run.problems(0.05) == [] and 5 <= len(run.states) <= 7


@pytest.mark.slow
def test_a_bundle_is_opened_and_closed_without_leaks(tiny_bundle: Path) -> None:
    # The threads of native libraries start with the first openings; descriptors must not grow at all.
    run = watched_rounds(openings(partial(EmotionPipeline.open, tiny_bundle)), 12, states=3)
    assert run.problems(0.05) == []


@pytest.mark.slow
def test_frames_are_read_without_leaks(tiny_bundle: Path) -> None:
    command = "from emo_edge.benchmarks.endurance.__main__ import main\nmain()"
    words = [*code_command(command), "frames", str(tiny_bundle), "--count", "200"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("200 frames in ")
