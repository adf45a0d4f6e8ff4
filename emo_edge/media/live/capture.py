"""A camera, a stream or a file as it is now: its newest frame, and the state of its signal."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from emo_edge.errors import DeviceError, EmoEdgeError, EngineError, InputError
from emo_edge.media.captures import opened_capture
from emo_edge.media.crops import Image
from emo_edge.media.live.capture_thread import CaptureThread, Grab, Pace
from emo_edge.media.live.clock import Clock, MonotonicClock
from emo_edge.media.live.settings import CaptureSettings, retry_delay
from emo_edge.media.readers.frames import OPEN_TIMEOUT_S, FrameReader
from emo_edge.media.sources import SourceKind, classify_source, without_password
from emo_edge.media.videos import check_end, frame_image

State = Literal["opening", "playing", "stalled", "lost", "ended"]
"""Of a source; only a file that was read to its end has ended."""
Opener = Callable[[str, SourceKind], AbstractContextManager[FrameReader]]
OPENING_S = 2 * OPEN_TIMEOUT_S
"""For a source to open; FFmpeg's own limit ends an attempt before."""
MONOTONIC = MonotonicClock()


@dataclass(frozen=True)
class LiveFrame:
    """The newest frame of a source."""

    image: Image
    """uint8 RGB [H, W, 3]."""
    index: int
    """Counts the frames that the source gave, those that were skipped too, from 0."""
    segment: int
    """Counts the jumps of the source's time stamps, and the times that it was opened again."""
    seconds: float
    """Since the start: of a file by its time stamps, else by the clock."""
    captured_s: float
    """Of the clock, when the source gave the frame."""


@dataclass(frozen=True)
class StateChange:
    """A new state of a source."""

    state: State
    reason: str
    """Empty where the state says all; never with a password."""
    at_s: float
    """Of the clock."""


class LiveCapture:
    """The newest frame of a source, which a thread of its own reads.

    `poll` never waits. A frame is what the source gave: after a stall or a loss there is none, and a change of state
    says so. Raises InputError for a source that is an image or a folder.
    """

    def __init__(
        self,
        source: str,
        settings: CaptureSettings | None = None,
        *,
        clock: Clock = MONOTONIC,
        opener: Opener = opened_capture,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.kind = without_password(source), classify_source(source)
        if self.kind in ("image", "folder"):
            named = "an image" if self.kind == "image" else "a folder"
            raise InputError(f"{self.name}: is {named}; live reads a camera, a stream or a video")
        self.settings = settings or CaptureSettings()
        self.changes: list[StateChange] = []
        """Since the caller emptied it."""
        self.over = False
        """True after the end of a file, or with `error`."""
        self.error: EmoEdgeError | None = None
        self._source, self._clock, self._opener, self._chance = source, clock, opener, chance
        self._bell = threading.Event()
        self._thread: CaptureThread | None = None
        self._abandoned: CaptureThread | None = None
        self._state: State | None = None
        self._start_s = self._retry_s = clock.now()
        self._attempts = self._before = self._undecoded = 0
        self._segment = self._segments_before = 0
        self._dropped_before = {"overtaken": 0, "damaged": 0}

    @property
    def is_every_frame(self) -> bool:
        """True for a file of which no frame is skipped, however long each takes."""
        return self.kind == "video" and not self.settings.realtime

    def poll(self) -> LiveFrame | None:
        """Return the frame that came since the last call, the newest one; None where none came."""
        now = self._clock.now()
        if self.over:
            return None
        if self._thread is None:
            if now >= self._retry_s:
                self._open(now)
            return None
        ended = self._thread.ended  # read first: after it no frame comes
        grab = self._thread.take()
        if grab is not None:
            return self._frame(grab, now)
        if ended:
            self._end(self._thread, now)
        elif self.kind != "video":
            self._check_silence(self._thread, now)
        return None

    def wait(self, seconds: float) -> None:
        """Wait until a frame or the end of the source has come, or the seconds are over; not at all at the end."""
        if self.over:
            return
        self._bell.wait(seconds)
        self._bell.clear()

    def dropped(self) -> dict[str, int]:
        """Return how many frames were never returned, by reason: overtaken by a newer one, damaged."""
        overtaken, damaged = self._dropped_before.values()
        if self._thread is not None:
            overtaken, damaged = overtaken + self._thread.overtaken, damaged + _damaged(self._thread)
        return {"overtaken": overtaken, "damaged": damaged + self._undecoded}

    def close(self) -> None:
        """Close the source; a call of its driver that does not return is left behind."""
        self.over = True
        self._drop_thread()

    def _open(self, now: float) -> None:
        self._change("opening", "", now)
        pace: Pace = "every" if self.is_every_frame else "own" if self.kind == "video" else "arrival"
        self._thread = CaptureThread(lambda: self._opener(self._source, self.kind), pace, self._clock, self._bell)

    def _frame(self, grab: Grab, now: float) -> LiveFrame | None:
        self._attempts = 0
        self._change("playing", "", now)
        self._segment = self._segments_before + grab.position.segment
        try:
            image = frame_image(grab.frame, self.name)
        except InputError:
            self._undecoded += 1
            return None
        seconds = grab.position.elapsed_s if self.kind == "video" else grab.captured_s - self._start_s
        return LiveFrame(image, self._before + grab.index, self._segment, seconds, grab.captured_s)

    def _check_silence(self, thread: CaptureThread, now: float) -> None:
        silent_s = now - thread.last_s
        if silent_s >= (self.settings.lost_s if thread.opened else OPENING_S):
            self._abandon(thread, f"{self._shown}: nothing came for {silent_s:.0f} s", now)
        elif thread.opened and silent_s >= self.settings.stall_s:
            self._change("stalled", f"nothing came for {silent_s:.1f} s", now)

    def _abandon(self, thread: CaptureThread, reason: str, now: float) -> None:
        if self._abandoned is not None and self._abandoned.is_alive:
            self._fail(DeviceError(f"{reason}, and an earlier call of its driver has not returned either"), now)
            return
        self._abandoned = thread
        thread.abandon()
        self._lose(DeviceError(reason), now)

    def _end(self, thread: CaptureThread, now: float) -> None:
        error = thread.error
        if error is not None and not isinstance(error, EmoEdgeError):
            self._fail(None, now)
            raise error
        if self.kind == "video":
            self._end_of_file(thread, error, now)
        elif error is not None and (not isinstance(error, DeviceError) or isinstance(error, EngineError)):
            self._fail(error, now)
        else:
            hint = "stopped: is it still plugged in?" if self.kind == "camera" else "the stream ended"
            self._lose(error or DeviceError(f"{self._shown}{' ' if self.kind == 'camera' else ': '}{hint}"), now)

    def _end_of_file(self, thread: CaptureThread, error: EmoEdgeError | None, now: float) -> None:
        try:
            if error is None and thread.reader is not None:
                check_end(self._source, self.kind, thread.frames, thread.reader)
        except EmoEdgeError as problem:
            error = problem
        if error is not None:
            self._fail(error, now)
            return
        self._change("ended", "", now)
        self.over = True
        self._drop_thread()

    def _lose(self, error: EmoEdgeError, now: float) -> None:
        if not self.settings.reconnect:
            self._fail(error, now)
            return
        delay_s = retry_delay(self._attempts, self._chance())
        self._change("lost", f"{error}; opened again in {delay_s:.1f} s", now)
        self._attempts += 1
        self._retry_s = now + delay_s
        self._drop_thread()

    def _fail(self, error: EmoEdgeError | None, now: float) -> None:
        self._change("lost", str(error or ""), now)
        self.error, self.over = error, True
        self._drop_thread()

    def _drop_thread(self) -> None:
        if self._thread is None:
            return
        self._before += self._thread.frames
        self._segments_before = self._segment + 1 if self._before else 0
        self._dropped_before["overtaken"] += self._thread.overtaken
        self._dropped_before["damaged"] += _damaged(self._thread)
        if self._thread is not self._abandoned:
            self._thread.close()
        self._thread = None

    def _change(self, state: State, reason: str, now: float) -> None:
        if state != self._state:
            self._state = state
            self.changes.append(StateChange(state, reason, now))

    @property
    def _shown(self) -> str:
        return f"camera {self.name.removeprefix('/dev/video')}" if self.kind == "camera" else self.name


def _damaged(thread: CaptureThread) -> int:
    return thread.damaged + (0 if thread.reader is None else thread.reader.damaged)
