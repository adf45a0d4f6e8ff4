"""The thread that reads one opening of a source, and its slot of one frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from emo_edge.console.interrupts import leave_behind
from emo_edge.errors import InputError
from emo_edge.media.live.clock import Clock
from emo_edge.media.readers.frames import FrameReader, RawFrame
from emo_edge.media.readers.time_line import Position, TimeLine, on_time_line

Pace = Literal["arrival", "every", "own"]
"""Frames as they arrive, the newest wins; every frame, each waits for its taker; at the file's own pace."""
CLOSING_S = 0.5
"""For a thread to end that is asked to."""


@dataclass(frozen=True)
class Grab:
    """A frame in the slot."""

    frame: RawFrame
    index: int
    """Counts the frames of this opening."""
    position: Position
    captured_s: float
    """Of the clock, when the source gave it."""


class CaptureThread:
    """Opens a source, reads it to its end and closes it; the taker never waits for it.

    A call of a driver that never returns cannot be ended. Such a thread is abandoned: when its call returns after all,
    it closes the source and ends.
    """

    def __init__(
        self,
        opener: Callable[[], AbstractContextManager[FrameReader]],
        pace: Pace,
        clock: Clock,
        bell: threading.Event,
    ) -> None:
        self.opened = self.ended = False
        self.error: Exception | None = None
        self.reader: FrameReader | None = None
        self.frames = self.overtaken = self.damaged = 0
        self.last_s = clock.now()
        """The last sign of life: the start, the opening or a frame."""
        self._opener, self._pace, self._clock, self._bell = opener, pace, clock, bell
        self._condition, self._stopped = threading.Condition(), False
        self._held: Grab | None = None
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True until the thread has closed the source."""
        return self._thread.is_alive()

    def take(self) -> Grab | None:
        """Empty the slot."""
        with self._condition:
            held, self._held = self._held, None
            self._condition.notify_all()
            return held

    def abandon(self) -> None:
        """Ask the thread to end, without waiting for it."""
        self._stop()
        leave_behind(self._thread)

    def close(self) -> None:
        """End the thread; one that is in a long call is abandoned."""
        self._stop()
        self._thread.join(CLOSING_S)
        if self._thread.is_alive():
            leave_behind(self._thread)

    def _stop(self) -> None:
        with self._condition:
            self._stopped, self._held = True, None
            self._condition.notify_all()

    def _work(self) -> None:
        try:
            with self._opener() as reader:
                self.reader, self.last_s, self.opened = reader, self._clock.now(), True
                self._read(reader)
        except Exception as error:  # raised again where the frames are taken
            self.error = error
        finally:
            self.ended = True
            self._bell.set()

    def _read(self, reader: FrameReader) -> None:
        start: float | None = None
        for frame, position in self._placed(reader):
            captured_s = self._clock.now()
            if self._pace == "own":
                start = captured_s - position.elapsed_s if start is None else start
                captured_s = max(captured_s, start + position.elapsed_s)
                self._wait_until(captured_s)
            try:
                # OpenCV's next grab would overwrite it.
                frame.keep()
            except InputError:
                self.damaged += 1
                continue
            if not self._put(Grab(frame, self.frames, position, captured_s)):
                return

    def _placed(self, reader: FrameReader) -> Iterator[tuple[RawFrame, Position]]:
        if self._pace != "arrival":
            yield from on_time_line(reader.frames(), reader.step_s)
            return
        line = TimeLine(reader.step_s)
        for frame in reader.frames():
            # A stamp off the line begins a segment at once: waiting for the next frame would make this one old.
            jumps = line.is_jump(frame.stamp)
            yield frame, line.after_jump(frame.stamp, frame.stamp) if jumps else line.next(frame.stamp)

    def _put(self, grab: Grab) -> bool:
        """Fill the slot; return False if the thread is to end."""
        with self._condition:
            while self._pace == "every" and self._held is not None and not self._stopped:
                self._condition.wait()
            if self._stopped:
                return False
            self.overtaken += self._held is not None
            self._held, self.last_s = grab, grab.captured_s
            self.frames += 1
        self._bell.set()
        return True

    def _wait_until(self, moment_s: float) -> None:
        with self._condition:
            while not self._stopped and (left := moment_s - self._clock.now()) > 0:
                self._clock.wait(self._condition, left)
