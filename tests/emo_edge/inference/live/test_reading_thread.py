"""The thread that reads: a deadline, an error, an end that waits for the reading or leaves it behind."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from emo_edge.console import interrupts
from emo_edge.errors import DeviceError, InputError
from emo_edge.inference.live.api import live
from emo_edge.inference.live.reading_thread import ReadingJob, ReadingThread
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.results import Request
from tests.fake_sources import PATIENCE_S, FakeClock

JOB = ReadingJob(np.zeros((9, 9, 3), np.uint8), (1,), ((0, 0, 9, 9),), (np.zeros((48, 48), np.int16),), 0.0)


def test_a_reading_that_is_late_is_collected_later() -> None:
    clock, released = FakeClock(), threading.Event()

    def read(image: Any, boxes: Any) -> list[Any]:
        released.wait(PATIENCE_S)
        return ["result"]

    thread = ReadingThread(read, clock)
    assert thread.collect(None) is None and not thread.is_busy
    thread.start(JOB)
    assert thread.collect(clock.now()) is None and thread.is_busy
    released.set()
    done = thread.collect(None)
    assert done is not None and done.results == ["result"] and done.job is JOB and not thread.is_busy
    thread.close()


def test_an_error_is_raised_where_it_is_collected() -> None:
    def read(image: Any, boxes: Any) -> list[Any]:
        raise DeviceError("out of memory")

    thread = ReadingThread(read, FakeClock())
    thread.start(JOB)
    with pytest.raises(DeviceError, match="out of memory"):
        thread.collect(None)
    assert not thread.is_busy
    thread.close()


def test_a_reading_may_be_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[threading.Thread] = []
    monkeypatch.setattr(interrupts, "_behind", left)
    monkeypatch.setattr(interrupts.atexit, "register", lambda call: None)
    released = threading.Event()

    def read(image: Any, boxes: Any) -> list[Any]:
        released.wait(PATIENCE_S)
        return []

    thread = ReadingThread(read, FakeClock())
    thread.start(JOB)
    thread.close(leave=True)
    assert [one.is_alive() for one in left] == [True]
    released.set()
    left[0].join(PATIENCE_S)
    assert not left[0].is_alive()


@pytest.mark.parametrize("settings", [{"max_age_s": 0.0}, {"duration_s": float("inf")}, {"max_age_s": float("nan")}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="is a number of seconds above 0"):
        LiveSettings(**settings)


def test_pieces_of_answers_are_refused_at_the_call() -> None:
    pipeline: Any = None
    with pytest.raises(InputError, match="`on_piece`"):
        live(pipeline, 0, Request(on_piece=print))
