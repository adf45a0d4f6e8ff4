"""Sources whose frames a test hands over one by one, on a clock that the test sets; nothing sleeps."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.media.live.capture import LiveCapture, LiveFrame

PATIENCE_S = 20.0
"""For a thread of the test's own to do its step."""


class FakeClock:
    """A clock that moves when a test says so, or somebody waits by it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        self.seconds += seconds


class FakeFrame:
    """A frame of one grey."""

    def __init__(self, grey: int = 0, stamp: float | None = None, size: tuple[int, int] = (48, 64)) -> None:
        self.stamp, self.duration, self.grey, self.size = stamp, 0.0, grey, size

    def keep(self) -> None:
        """Do nothing."""

    def pixels(self) -> NDArray[np.uint8]:
        return np.full((*self.size, 3), self.grey, np.uint8)


class FakeReader:
    """Yields what is put into its queue: frames, an error that it raises, or None for its end."""

    step_s, frame_count, duration_s, damaged = 0.04, 0, 0.0, 0

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.closed = threading.Event()

    def frames(self) -> Iterator[Any]:
        while (item := self.queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed.set()


class FakeSource:
    """An opener of the given readers, one after another; an exception in a reader's place is raised."""

    def __init__(self, *readers: FakeReader | Exception) -> None:
        self.readers = list(readers)
        self.opened = threading.Semaphore(0)

    @contextmanager
    def __call__(self, source: str, kind: str) -> Iterator[Any]:
        reader = self.readers.pop(0)
        self.opened.release()
        if isinstance(reader, Exception):
            raise reader
        try:
            yield reader
        finally:
            reader.close()


def next_frame(capture: LiveCapture) -> LiveFrame:
    """Wait for the thread's next frame."""
    for _ in range(100):
        frame = capture.poll()
        if frame is not None:
            return frame
        capture.wait(PATIENCE_S)
    raise AssertionError("no frame came")


def states(capture: LiveCapture) -> list[str]:
    """Return the states since the last call."""
    named = [change.state for change in capture.changes]
    capture.changes.clear()
    return named
