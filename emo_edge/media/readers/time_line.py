"""The time line of a source whose time stamps may jump: segments, and one spiked frame set right.

- A frame without a stamp, or with that of the frame before, comes one nominal step after it.
- So does one whose stamp is up to four steps (at most 0.25 s) back, which is jitter.
- A single frame off the line, with the next one back on it, comes one step after the frame before; a first frame
  whose next two are on a line of their own comes one step before them.
- A gap of up to `LONGEST_GAP_S` or 100 steps, whichever is longer, is a gap of the source.
- Everything else, further forward or back, begins a new segment, whose seconds start at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emo_edge.media.readers.frames import RawFrame

LONGEST_GAP_S = 30.0
LONGEST_GAP_STEPS = 100
JITTER_S = 0.25
JITTER_STEPS = 4
SUSPECT_S = 1.0
SUSPECT_STEPS = 10
"""A gap beyond both of them may be a spike: the next frame decides."""


@dataclass(frozen=True)
class Position:
    """Place of a frame on the time line."""

    segment: int
    """0 until the time stamps jump for the first time."""
    seconds: float
    """Since the first frame of the segment; never less than that of the frame before."""
    elapsed_s: float
    """Since the first frame of the source: the segments one after the other, a step between them."""


def on_time_line(frames: Iterator[RawFrame], step_s: float) -> Iterator[tuple[RawFrame, Position]]:
    """Yield each frame with its position; a frame that is off the line waits for the one after it."""
    line, held = TimeLine(step_s), None
    for frame in frames:
        if held is not None:
            yield held, line.after_jump(held.stamp, frame.stamp)
            held = None
        if line.is_jump(frame.stamp):
            frame.keep()
            held = frame
        else:
            yield frame, line.next(frame.stamp)
    if held is not None:
        yield held, line.after_jump(held.stamp, None)


class TimeLine:
    """Positions of frames, given their stamps one after the other."""

    def __init__(self, step_s: float) -> None:
        self._step = step_s
        self._jitter = min(JITTER_STEPS * step_s, JITTER_S)
        self._suspect = max(SUSPECT_STEPS * step_s, SUSPECT_S)
        self._longest_gap = max(LONGEST_GAP_STEPS * step_s, LONGEST_GAP_S)
        self._segment, self._before, self._seconds = 0, 0.0, -step_s
        self._start: float | None = None
        """Stamp of the segment's second 0."""
        self._first: float | None = None
        """Stamp of the segment's first frame that has one."""
        self._stamp: float | None = None
        """Largest stamp on the line."""

    def is_jump(self, stamp: float | None) -> bool:
        """Return True for a stamp that is off the line, or may be."""
        return stamp is not None and self._stamp is not None and not self._is_near(stamp)

    def next(self, stamp: float | None) -> Position:
        """Place a frame that is on the line."""
        # Time never stands still: frames that do not advance would be lost to whoever takes so many a second.
        if stamp is None or (self._stamp is not None and stamp <= self._stamp):
            return self._placed(self._seconds + self._step)
        if self._start is None:
            self._first = stamp
            self._start = stamp - (self._seconds + self._step)
        self._stamp = stamp
        return self._placed(max(self._seconds, stamp - self._start))

    def after_jump(self, stamp: float | None, following: float | None) -> Position:
        """Place a frame off the line, given the stamp of the frame after it (None at the end)."""
        assert stamp is not None and self._stamp is not None
        real_gap = 0 < stamp - self._stamp <= self._longest_gap
        if (following is None and not real_gap) or (following is not None and self._is_near(following)):
            return self._placed(self._seconds + self._step)
        if not real_gap:
            alone = self._seconds == 0 and following is not None and 0 < following - stamp <= self._suspect
            if alone and self._stamp == self._first:
                self._start, self._stamp = stamp - self._step, None
            else:
                self._begin_segment()
        return self.next(stamp)

    def _is_near(self, stamp: float) -> bool:
        assert self._stamp is not None
        # The additions of time stamps round.
        return -self._jitter - 1e-6 <= stamp - self._stamp <= self._suspect + 1e-6

    def _begin_segment(self) -> None:
        self._before += self._seconds + self._step
        self._segment += 1
        self._seconds, self._start, self._stamp = -self._step, None, None

    def _placed(self, seconds: float) -> Position:
        self._seconds = seconds
        return Position(self._segment, seconds, self._before + seconds)
