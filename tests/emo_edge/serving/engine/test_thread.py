"""The engine's thread: batches of what waited, errors to their owners, an end that refuses what waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.inference.results import Request
from emo_edge.serving.engine.jobs import ClosingError, Job
from emo_edge.serving.engine.metrics import ServerMetrics
from emo_edge.serving.engine.thread import EngineThread

PATIENCE_S = 20.0
BAD = 255
COUNTED = 'emo_edge_stage_seconds_count{stage="vision"} 1.0'


def picture(value: int) -> Any:
    return np.full((4, 4, 3), value, np.uint8)


class Pixels:
    """A reader whose result is the picture's grey, so that results can be told apart; a white picture is bad."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go = threading.Event()
        self.is_in = threading.Event()

    def read_many(self, images: Sequence[Any], request: Any = None, *, faces: str = "all") -> Any:
        values = [int(image[0, 0, 0]) for image in images]
        self.batches.append(values)
        self.is_in.set()
        assert self.may_go.wait(PATIENCE_S)
        if BAD in values:
            raise InputError("a white picture")
        return [[Face(value)] for value in values]

    def read(self, image: Any, request: Any = None, **options: Any) -> Any:
        return [Face(len(options["boxes"]))]

    def read_clip_faces(self, frames: Sequence[Any], request: Any = None, *, faces: str = "all") -> Any:
        return [Face(len(frames))]


class Face:
    """A result."""

    def __init__(self, value: int) -> None:
        self.value, self.stage_ms = value, {"vision": 1.0}


@pytest.fixture
def pixels() -> Pixels:
    return Pixels()


@pytest.fixture
def engine(pixels: Pixels) -> Iterator[EngineThread]:
    opened = EngineThread(pixels, 64, ServerMetrics())
    yield opened
    pixels.may_go.set()
    opened.close()


def submitted(engine: EngineThread, *values: int, client: str = "a", **options: Any) -> Job:
    job = Job(client, [picture(value) for value in values], Request(), **options)
    engine.submit(job)
    return job


def values_of(job: Job) -> list[int]:
    return [face.value for faces in job.future.result(PATIENCE_S) for face in faces]  # type: ignore[attr-defined]


def test_what_came_while_it_read_is_the_next_batch(engine: EngineThread, pixels: Pixels) -> None:
    first = submitted(engine, 1)
    assert pixels.is_in.wait(PATIENCE_S)
    others = [submitted(engine, value, client=f"client {value}") for value in (2, 3, 4)]
    pixels.may_go.set()
    assert values_of(first) == [1]
    assert [values_of(job) for job in others] == [[2], [3], [4]]
    assert pixels.batches == [[1], [2, 3, 4]]


def test_an_error_belongs_to_one_job_of_a_batch(engine: EngineThread, pixels: Pixels) -> None:
    first = submitted(engine, 1)
    assert pixels.is_in.wait(PATIENCE_S)
    good, bad = submitted(engine, 2), submitted(engine, BAD, client="b")
    pixels.may_go.set()
    assert (values_of(first), values_of(good)) == ([1], [2])
    with pytest.raises(InputError, match="white"):
        bad.future.result(PATIENCE_S)
    assert values_of(submitted(engine, 3)) == [3], "the engine goes on"


def test_a_fault_of_ours_reaches_its_job_and_no_other(
    engine: EngineThread, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    pixels.may_go.set()
    monkeypatch.setattr(pixels, "read_clip_faces", fail)
    broken = submitted(engine, 1, 2, clip=True)
    with pytest.raises(ZeroDivisionError):
        broken.future.result(PATIENCE_S)
    assert "a reading failed" in caplog.text
    assert values_of(submitted(engine, 3)) == [3]


def test_clips_and_live_frames(engine: EngineThread) -> None:
    assert values_of(submitted(engine, 1, 2, 3, clip=True)) == [3]
    assert values_of(submitted(engine, 1, boxes=[(0, 0, 1, 1), (1, 1, 2, 2)])) == [2]


def test_a_cancelled_job_is_not_read(engine: EngineThread, pixels: Pixels) -> None:
    first = submitted(engine, 1)
    assert pixels.is_in.wait(PATIENCE_S)
    gone = submitted(engine, 2)
    assert gone.future.cancel()
    pixels.may_go.set()
    assert values_of(first) == [1]
    assert values_of(submitted(engine, 3)) == [3]
    assert [2] not in pixels.batches


def test_its_end_refuses_what_waits(pixels: Pixels) -> None:
    engine = EngineThread(pixels, 64, ServerMetrics())
    first = submitted(engine, 1)
    assert pixels.is_in.wait(PATIENCE_S)
    waiting = submitted(engine, 2)
    ending = threading.Thread(target=engine.close)
    ending.start()
    with pytest.raises(ClosingError):
        waiting.future.result(PATIENCE_S)
    with pytest.raises(ClosingError):
        submitted(engine, 3)
    pixels.may_go.set()
    ending.join(PATIENCE_S)
    assert values_of(first) == [1], "what was under way ends"


def test_batches_are_counted_once_no_job_follows(pixels: Pixels) -> None:
    metrics = ServerMetrics()
    engine = EngineThread(pixels, 4, metrics)  # type: ignore[arg-type]
    pixels.may_go.set()
    job = Job("a", [picture(1)], Request())
    engine.submit(job)
    job.future.result(PATIENCE_S)
    until_s = time.monotonic() + PATIENCE_S
    while COUNTED not in metrics.text().decode() and time.monotonic() < until_s:
        time.sleep(0.01)
    engine.close()
    assert COUNTED in metrics.text().decode()


def test_a_scrape_finds_every_batch_that_was_answered(pixels: Pixels) -> None:
    metrics = ServerMetrics()
    engine = EngineThread(pixels, 4, metrics)  # type: ignore[arg-type]
    pixels.may_go.set()
    job = Job("a", [picture(1)], Request())
    engine.submit(job)
    job.future.result(PATIENCE_S)
    engine.count()
    assert COUNTED in metrics.text().decode()
    engine.close()
    assert COUNTED in metrics.text().decode(), "each batch is counted once"
