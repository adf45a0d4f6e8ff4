"""The thread that reads faces while others are searched: one reading at a time, and nothing waits in a queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from emo_edge.console.interrupts import leave_behind
from emo_edge.inference.live.signatures import Signature
from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.clock import Clock

ReadFaces = Callable[[Image, list[Box]], list[EmotionResult]]
"""Reads the faces in the boxes of a frame, in their order."""


@dataclass(frozen=True)
class ReadingJob:
    """Faces of one frame to read."""

    image: Image
    ids: tuple[int, ...]
    boxes: tuple[Box, ...]
    signatures: tuple[Signature, ...]
    captured_s: float
    """Of the frame, by the clock."""
    seconds: float = 0.0
    """Of the frame, by its source."""


@dataclass(frozen=True)
class ReadingDone:
    """A job with its results, one a face, and the seconds that it took."""

    job: ReadingJob
    results: Sequence[EmotionResult]
    seconds: float


class Reader(Protocol):
    """Reads one job after another while the caller does other work."""

    @property
    def is_busy(self) -> bool:
        """True from the start of a job until it is collected."""

    def start(self, job: ReadingJob) -> None:
        """Begin a job; the one before has been collected."""

    def collect(self, until_s: float | None) -> ReadingDone | None:
        """Return the finished job, waiting until the clock shows ``until_s``, or as long as it takes for None."""

    def close(self, *, leave: bool = False) -> None:
        """End; wait for the reading under way unless it is left behind."""


class ReadingThread:
    """A `Reader` with a thread of its own; an error of a reading is raised where it is collected.

    The thread begins with the first job, so that one that nobody uses leaves nothing running.
    """

    def __init__(self, read: ReadFaces, clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._jobs: queue.SimpleQueue[ReadingJob | None] = queue.SimpleQueue()
        self._condition = threading.Condition()
        self._done: ReadingDone | BaseException | None = None
        self._busy = False
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """True from the start of a job until it is collected."""
        return self._busy

    def start(self, job: ReadingJob) -> None:
        """Begin a job; the one before has been collected."""
        self._busy = True
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="labels", daemon=True)
            self._thread.start()

    def collect(self, until_s: float | None) -> ReadingDone | None:
        """Return the finished job, waiting until the clock shows ``until_s``, or as long as it takes for None."""
        if not self._busy:
            return None
        with self._condition:
            while self._done is None:
                left_s = None if until_s is None else until_s - self._clock.now()
                if left_s is not None and left_s <= 0:
                    return None
                # A wait without an end would keep Ctrl-C waiting on some systems.
                self._condition.wait(0.2 if left_s is None else min(left_s, 0.2))
            done, self._done, self._busy = self._done, None, False
        if isinstance(done, BaseException):
            raise done
        return done

    def close(self, *, leave: bool = False) -> None:
        """End; wait for the reading under way unless it is left behind."""
        if self._thread is None:
            return
        self._jobs.put(None)
        if leave and self._busy:
            leave_behind(self._thread)
        else:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            started = self._clock.now()
            done: ReadingDone | BaseException
            try:
                results = self._read(job.image, list(job.boxes))
                done = ReadingDone(job, results, self._clock.now() - started)
            except BaseException as error:  # raised again in the thread that collects
                done = error
            with self._condition:
                self._done = done
                self._condition.notify_all()
