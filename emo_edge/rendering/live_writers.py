"""Writers of live events on stdout: JSON lines, CSV, and text of a line a second."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from emo_edge.console.terminal import echo
from emo_edge.inference.live.events import LIVE_EVENT_VERSION, FrameEvent, LiveEvent, LiveFace, SourceEvent
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.results import Settings
from emo_edge.rendering.result_writers import cell, settings_json
from emo_edge.utils.text import readable_name

WINDOW_S = 2.0
"""Of the rate of frames that is shown."""


class LiveWriter:
    """Prints live events; this base prints nothing."""

    def begin(self) -> None:
        """Print what stands before the events."""

    def write(self, event: LiveEvent) -> None:
        """Print one event, or keep it for the next line."""

    def end(self) -> None:
        """Print what stands after the events; a second call does nothing."""

    def clear(self) -> None:
        """Remove what would be overwritten, before something else is printed."""


class LiveJsonLines(LiveWriter):
    """One JSON object a line; the first one holds the settings."""

    def __init__(self, settings: Settings, live: LiveSettings) -> None:
        self._settings, self._live = settings, live

    def begin(self) -> None:
        """Print the settings."""
        capture = self._live.capture
        self._print(
            {
                "live_event_version": LIVE_EVENT_VERSION,
                "kind": "run",
                "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "max_age_ms": round(1000 * self._live.max_age_s, 1),
                "reuse": self._live.reuse,
                "duration_s": self._live.duration_s,
                "stall_s": capture.stall_s,
                "reconnect": capture.reconnect,
                "realtime": capture.realtime,
                "settings": settings_json(self._settings),
            }
        )

    def write(self, event: LiveEvent) -> None:
        """Print one event."""
        self._print(event.to_dict())

    def _print(self, document: dict[str, object]) -> None:
        echo(json.dumps(document, separators=(",", ":"), allow_nan=False))


class Thinned(LiveWriter):
    """Frames at most once an interval, for a log that stays small; tracks and states of the source all of them."""

    def __init__(self, inner: LiveWriter, every_s: float) -> None:
        self._inner, self._every_s = inner, every_s
        self._next_s = float("-inf")
        self._dropped: Counter[str] = Counter()

    def begin(self) -> None:
        """Print what stands before the events."""
        self._inner.begin()

    def write(self, event: LiveEvent) -> None:
        """Print an event, a frame with the frames that were dropped since the one before."""
        if not isinstance(event, FrameEvent):
            self._inner.write(event)
            return
        self._dropped.update(event.dropped)
        # A file's time stamps, or a reconnected source's, decide like a camera's clock.
        if event.time_s >= self._next_s:
            self._next_s = event.time_s + self._every_s - 1e-6
            self._inner.write(replace(event, dropped=dict(self._dropped)))
            self._dropped = Counter(dict.fromkeys(self._dropped, 0))

    def end(self) -> None:
        """Print what stands after the events."""
        self._inner.end()


class LiveCsv(LiveWriter):
    """One row a face of a frame; a frame without a face has none."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        box = [f"box_{name}" for name in ("x0", "y0", "x1", "y1")]
        scores = [f"p_{label}" for label in labels]
        self._columns = [
            "index",
            "time_s",
            "age_ms",
            "id",
            "label",
            *scores,
            "label_age_ms",
            "reused",
            "detected",
            *box,
        ]

    def begin(self) -> None:
        """Print the names of the columns."""
        self._print([self._columns])

    def write(self, event: LiveEvent) -> None:
        """Print the rows of a frame."""
        if isinstance(event, FrameEvent):
            self._print([[cell(value) for value in self._row(event, face)] for face in event.faces])

    def _row(self, event: FrameEvent, face: LiveFace) -> list[str | int | float | None]:
        scores = [face.probabilities.get(label) for label in self._labels]
        head = [event.index, event.time_s, event.age_ms, face.id, face.label]
        return [*head, *scores, face.label_age_ms, int(face.reused), int(face.detected), *face.box]

    def _print(self, table: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        echo(text.getvalue(), nl=False)


class FrameCounts:
    """The rate of frames over the last seconds, and all frames that were dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()
        self.dropped = 0

    def add(self, event: FrameEvent) -> None:
        """Count a frame."""
        now = self._clock()
        self._times.append(now)
        while self._times[0] < now - WINDOW_S:
            self._times.popleft()
        self.dropped += sum(event.dropped.values())

    @property
    def fps(self) -> float:
        """Return frames a second; 0 before the second frame."""
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-6)


class LiveText(LiveWriter):
    """A line a second, and one for each stall and loss of the source."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every_s: float = 1.0) -> None:
        self._counts, self._clock, self._every_s = FrameCounts(clock), clock, every_s
        self._next_s: float | None = None
        self._last: FrameEvent | None = None
        self._troubled = False

    def write(self, event: LiveEvent) -> None:
        """Print a line where it is time for one."""
        if isinstance(event, FrameEvent):
            self._counts.add(event)
            self._last = event
            now = self._clock()
            self._next_s = now if self._next_s is None else self._next_s
            if now >= self._next_s:
                self._next_s = now + self._every_s
                self._print(event)
        elif isinstance(event, SourceEvent):
            if line := trouble_line(event, after_trouble=self._troubled):
                self._print_last()
                echo(line)
            self._troubled = event.state in ("stalled", "lost") or (self._troubled and event.state == "opening")

    def end(self) -> None:
        """Print the last frame, unless it was."""
        self._print_last()

    def _print_last(self) -> None:
        if self._last is not None:
            self._print(self._last)

    def _print(self, event: FrameEvent) -> None:
        self._last = None
        faces = ", ".join(f"#{face.id} {face_label(face)}" for face in event.faces) or "no face"
        echo(f"{event.time_s:.1f} s  {head_text(event, self._counts)}  {faces}")


def trouble_line(event: SourceEvent, *, after_trouble: bool) -> str | None:
    """Return the line of a stall, a loss or what follows one; None for other states, which need none."""
    if event.state not in ("stalled", "lost") and not after_trouble:
        return None
    # An error names its source, too.
    reason = f": {event.reason.removeprefix(f'{event.source}: ')}" if event.reason else ""
    return f"{event.time_s:.1f} s  {readable_name(event.source)} {event.state}{reason}"


def head_text(event: FrameEvent, counts: FrameCounts) -> str:
    """Return the rate, the age and the dropped frames."""
    return f"{counts.fps:.1f} fps  age {event.age_ms:.0f} ms  skipped {counts.dropped}"


def face_label(face: LiveFace) -> str:
    """Return the label with its probability, and its age where that is another frame's."""
    if face.label is None or face.label_age_ms is None:
        return "not read yet" if face.result is None else "no labels"
    return f"{face.label} {face.probabilities[face.label]:.0%}"
