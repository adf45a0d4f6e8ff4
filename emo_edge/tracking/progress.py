"""Progress of a run on stderr: a line that changes on a terminal, else one every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from emo_edge.console.progress import LINE_SECONDS
from emo_edge.console.status_line import StatusLine
from emo_edge.tracking.run import TrackedVideo

REFRESH_S = 0.2
"""Between two drawings of the line."""


class TrackProgress:
    """Shows how far the video under way is."""

    def __init__(self, videos: int, status: StatusLine, note: Callable[[str], None]) -> None:
        self._videos, self._status, self._note = videos, status, note
        self._ended = self._first = 0
        self._step = ""
        self._video_started = self._started = self._shown = time.monotonic()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show the frames done of a step, if it is time."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._first, self._started = step, done, now
        if now - self._shown < (REFRESH_S if self._status.live else LINE_SECONDS):
            return
        self._shown = now
        place = f"{self._ended + 1} of {self._videos}: " if self._videos > 1 else ""
        line = progress_text(step, done, total, done - self._first, now - self._started)
        (self._status.show if self._status.live else self._note)(f"{place}{line}")

    def end(self, video: TrackedVideo) -> None:
        """Print what became of a video; whoever runs it prints its error."""
        now = time.monotonic()
        if video.frames or video.is_unchanged:
            self._note(summary_text(video, now - self._video_started))
        self._ended, self._video_started, self._step = self._ended + 1, now, ""


def progress_text(step: str, done: int, total: int, gained: int, seconds: float) -> str:
    """Return a line: frames done and in all, the rate of this run, the time that is left."""
    known = total >= done > 0
    parts = [f"{step}: {done:,} of {total:,} frames" if known else f"{step}: {done:,} frames"]
    if gained and seconds > 0:
        rate = gained / seconds
        parts.append(f"{rate:.1f} a second")
        parts += [f"about {(total - done) / rate:.0f} s left"] if known else []
    return ", ".join(parts)


def summary_text(video: TrackedVideo, seconds: float) -> str:
    """Return the line at the end of a video."""
    if video.is_unchanged:
        return f"{video.source}: finished before, {video.target} is left as it is"
    return f"{video.source}: {video.frames:,} frames, {video.faces:,} faces, {seconds:.0f} s: {video.target}"
