"""Writers of live events on stdout: JSON lines, CSV, and text of a line a second."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from emo_edge.bundle.sections import LiveLabels
from emo_edge.console.terminal import echo
from emo_edge.inference.live.events import (
    LIVE_EVENT_VERSION,
    FrameEvent,
    LiveEvent,
    LiveFace,
    PulseEvent,
    SourceEvent,
    TrackEvent,
)
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.live.signatures import UNCHANGED
from emo_edge.inference.results import Settings
from emo_edge.inference.rows import unit_cells
from emo_edge.inference.signals.heart_rate import NOTICE
from emo_edge.rendering.result_writers import cell, settings_json
from emo_edge.rendering.text import active_units
from emo_edge.utils.text import readable_name

RECORD = "record"
"""Reason of frames that were shown, but left out of a recording."""
WINDOW_S = 2.0
"""Of the rate of frames that is shown."""


class LiveWriter:
    """Prints live events; this base prints nothing."""

    over = False
    """True once the user has asked for the end."""

    def begin(self) -> None:
        """Print what stands before the events."""

    def write(self, event: LiveEvent) -> None:
        """Print one event, or keep it for the next line."""

    def end(self) -> None:
        """Print what stands after the events; a second call does nothing."""

    def clear(self) -> None:
        """Remove what would be overwritten, before something else is printed."""


class Together(LiveWriter):
    """Several writers of the same events."""

    def __init__(self, writers: Sequence[LiveWriter]) -> None:
        self._writers = writers

    @property
    def over(self) -> bool:  # type: ignore[override]
        """True once the user has asked one of them for the end."""
        return any(writer.over for writer in self._writers)

    def begin(self) -> None:
        """Begin each."""
        for writer in self._writers:
            writer.begin()

    def write(self, event: LiveEvent) -> None:
        """Hand the event to each."""
        for writer in self._writers:
            writer.write(event)

    def end(self) -> None:
        """End each, also after an error of another."""
        with ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.end)


class LiveJsonLines(LiveWriter):
    """One JSON object a line; the first one holds the settings."""

    def __init__(self, settings: Settings, live: LiveSettings, fitted: LiveLabels | None = None) -> None:
        self._settings, self._live, self._fitted = settings, live, fitted or LiveLabels()

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
                "pulse": self._live.pulse,
                "micro_expressions": self._live.micro_expressions,
                "unchanged": self._fitted.unchanged or UNCHANGED,
                "smoothing": self._fitted.smoothing and self._fitted.smoothing.model_dump(),
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
        self._next_s: dict[str, float] = {}
        """By source."""
        self._dropped: dict[str, Counter[str]] = {}

    def begin(self) -> None:
        """Print what stands before the events."""
        self._inner.begin()

    def write(self, event: LiveEvent) -> None:
        """Print an event, a frame with the frames that were dropped since the one before."""
        if not isinstance(event, FrameEvent):
            self._inner.write(event)
            return
        dropped = self._dropped.setdefault(event.source, Counter())
        dropped.update(event.dropped)
        # A file's time stamps, or a reconnected source's, decide like a camera's clock.
        if event.time_s >= self._next_s.get(event.source, float("-inf")):
            self._next_s[event.source] = event.time_s + self._every_s - 1e-6
            self._inner.write(replace(event, dropped=dict(dropped)))
            self._dropped[event.source] = Counter(dict.fromkeys(dropped, 0))

    def end(self) -> None:
        """Print what stands after the events."""
        self._inner.end()


class LiveCsv(LiveWriter):
    """One row a face of a frame; a frame without a face has none."""

    def __init__(self, labels: Sequence[str], *, smoothed: bool = False, units: Sequence[str] = ()) -> None:
        """Begin; ``smoothed`` adds columns of smoothed labels, ``units`` are those of action units."""
        self._labels, self._smoothed, self._units = labels, smoothed, units
        box = [f"box_{name}" for name in ("x0", "y0", "x1", "y1")]
        scores = [f"p_{label}" for label in labels]
        means = ["smoothed_label", *(f"s_{label}" for label in labels)] if smoothed else []
        self._columns = [
            "source",
            "index",
            "time_s",
            "age_ms",
            "id",
            "label",
            *scores,
            *means,
            *units,
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
        head: list[str | float | None] = [event.source, event.index, event.time_s, event.age_ms, face.id, face.label]
        means: list[str | float | None] = []
        if self._smoothed:
            means = [face.smoothed_label, *(face.smoothed.get(label) for label in self._labels)]
        cells = unit_cells(face.result.action_units) if face.result else {}
        units = [cells.get(name) for name in self._units]
        return [*head, *scores, *means, *units, face.label_age_ms, int(face.reused), int(face.detected), *face.box]

    def _print(self, table: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        echo(text.getvalue(), nl=False)


class FrameCounts:
    """The rate of frames over the last seconds, all frames that were dropped, and those left out of a recording."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()
        self.dropped = self.unrecorded = 0

    def add(self, event: FrameEvent) -> None:
        """Count a frame."""
        now = self._clock()
        self._times.append(now)
        while self._times[0] < now - WINDOW_S:
            self._times.popleft()
        self.dropped += sum(count for reason, count in event.dropped.items() if reason != RECORD)
        self.unrecorded += event.dropped.get(RECORD, 0)

    @property
    def fps(self) -> float:
        """Return frames a second; 0 before the second frame."""
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-6)


class LiveText(LiveWriter):
    """A line a second of each source, and one for each stall and loss of it."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, every_s: float = 1.0, *, named: bool = False
    ) -> None:
        """Begin; ``named`` starts each line with the name of its source."""
        self._clock, self._every_s, self._named = clock, every_s, named
        self._sources: dict[str, _TextState] = {}

    def write(self, event: LiveEvent) -> None:
        """Print a line where it is time for one."""
        state = self._sources.setdefault(event.source, _TextState(FrameCounts(self._clock)))
        state.pulses.add(event)
        if isinstance(event, FrameEvent):
            state.counts.add(event)
            state.last = event
            now = self._clock()
            state.next_s = now if state.next_s is None else state.next_s
            if now >= state.next_s:
                state.next_s = now + self._every_s
                self._print(state)
        elif isinstance(event, SourceEvent):
            if line := trouble_line(event, after_trouble=state.troubled):
                self._print(state)
                echo(line)
            state.troubled = still_troubled(event, before=state.troubled)

    def end(self) -> None:
        """Print the last frame of each source, unless it was."""
        for state in self._sources.values():
            self._print(state)

    def _print(self, state: _TextState) -> None:
        event, state.last = state.last, None
        if event is None:
            return
        pulses = state.pulses
        faces = ", ".join(f"#{face.id} {face_label(face)}{pulses.of(face)}" for face in event.faces) or "no face"
        name = f"{readable_name(event.source)}  " if self._named else ""
        echo(f"{name}{event.time_s:.1f} s  {head_text(event, state.counts)}  {faces}{pulses.notice}")


class ShownPulses:
    """The newest heart rates of one source's faces, as text."""

    def __init__(self) -> None:
        self._newest: dict[int, PulseEvent] = {}

    def add(self, event: LiveEvent) -> None:
        """Keep a heart rate; forget that of a lost face."""
        if isinstance(event, PulseEvent):
            self._newest[event.id] = event
        elif isinstance(event, TrackEvent) and event.change == "lost":
            self._newest.pop(event.id, None)

    def of(self, face: LiveFace) -> str:
        """Return the heart rate of a face with a space before it; empty before its first window."""
        event = self._newest.get(face.id)
        if event is None:
            return ""
        return " no reliable pulse" if event.heart_rate.bpm is None else f" {event.heart_rate.bpm:.0f} BPM"

    @property
    def notice(self) -> str:
        """Return the notice that goes with heart rates, where there are any."""
        return f"  {NOTICE}" if self._newest else ""


@dataclass
class _TextState:
    """Frames of one source that were printed, or wait for it."""

    counts: FrameCounts
    next_s: float | None = None
    last: FrameEvent | None = None
    """Not printed yet."""
    troubled: bool = False
    pulses: ShownPulses = field(default_factory=ShownPulses)


def still_troubled(event: SourceEvent, *, before: bool) -> bool:
    """Return True if the next state of a source needs a line, whatever it is."""
    return event.state in ("stalled", "lost") or (before and event.state == "opening")


def trouble_line(event: SourceEvent, *, after_trouble: bool) -> str | None:
    """Return the line of a stall, a loss or what follows one; None for other states, which need none."""
    if event.state not in ("stalled", "lost") and not after_trouble:
        return None
    # An error names its source, too.
    reason = f": {event.reason.removeprefix(f'{event.source}: ')}" if event.reason else ""
    return f"{event.time_s:.1f} s  {readable_name(event.source)} {event.state}{reason}"


def head_text(event: FrameEvent, counts: FrameCounts) -> str:
    """Return the rate, the age, the dropped frames, and those left out of a recording, if any."""
    unrecorded = f"  not recorded {counts.unrecorded}" if counts.unrecorded else ""
    return f"{counts.fps:.1f} fps  age {event.age_ms:.0f} ms  skipped {counts.dropped}{unrecorded}"


def shown_labels(face: LiveFace) -> Mapping[str, float]:
    """Return the probabilities that are shown: the smoothed ones where there are any."""
    return face.smoothed or face.probabilities


def without_labels(face: LiveFace) -> str:
    """Return what stands for the labels of a face that has none: its active action units, or why there is nothing."""
    if face.result is None:
        return "not read yet"
    units = face.result.action_units
    return (", ".join(active_units(units)) or "no active unit") if units else "no labels"


def face_label(face: LiveFace) -> str:
    """Return the label with its probability, the smoothed one where there is one, or what there is instead."""
    shown = shown_labels(face)
    if not shown or face.label_age_ms is None:
        return without_labels(face)
    label = max(shown, key=shown.__getitem__)
    return f"{label} {shown[label]:.0%}"
