"""A calm view of live events on a terminal: a line a face, drawn over the view before."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from emo_edge.console.status_line import fitted
from emo_edge.console.terminal import echo
from emo_edge.inference.live.events import FrameEvent, LiveEvent, LiveFace, SourceEvent
from emo_edge.rendering.live_writers import (
    FrameCounts,
    LiveWriter,
    ShownPulses,
    head_text,
    shown_labels,
    still_troubled,
    trouble_line,
    without_labels,
)
from emo_edge.utils.text import readable_name

EVERY_S = 0.1
"""Between two drawings: faster ones only flicker."""
BAR = 20
"""Characters of a bar at 100 %."""
OTHERS = 2
"""Labels after the first one whose probability is shown."""


class LiveView(LiveWriter):
    """Each source with its rate and its age in a line, then its faces in the order of their ids."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._sources = clock, dict[str, _Shown]()
        self._lines, self._drawn_s = 0, float("-inf")

    def write(self, event: LiveEvent) -> None:
        """Draw the view, unless it was drawn a moment ago; stalls and losses stay above it as lines."""
        shown = self._sources.setdefault(event.source, _Shown(FrameCounts(self._clock)))
        shown.pulses.add(event)
        if isinstance(event, FrameEvent):
            shown.counts.add(event)
            shown.event = event
            if self._clock() - self._drawn_s >= EVERY_S:
                self._draw()
        elif isinstance(event, SourceEvent):
            shown.state = event.state
            line = trouble_line(event, after_trouble=shown.troubled)
            shown.troubled = still_troubled(event, before=shown.troubled)
            if line:
                self.clear()
                echo(line)

    def end(self) -> None:
        """Draw the last frames; what is printed next begins below them."""
        if any(shown.event for shown in self._sources.values()):
            self._draw()
        self._sources, self._lines = {}, 0

    def clear(self) -> None:
        """Remove the view: it is drawn again with the next frame."""
        if self._lines:
            click.echo(f"\x1b[{self._lines}A\r\x1b[J", nl=False, color=True)
        self._lines, self._drawn_s = 0, float("-inf")

    def _draw(self) -> None:
        drawn = [shown for shown in self._sources.values() if shown.event is not None]
        # Each source has a line of its own, and one for those that have no room.
        room = max((shutil.get_terminal_size().lines - 1) // len(drawn) - 2, 1)
        lines = [line for shown in drawn for line in shown.lines(room)]
        above = f"\x1b[{self._lines}A\r\x1b[J" if self._lines else ""
        # One write: a terminal that draws in between would flicker.
        click.echo(above + "".join(f"{fitted(line)}\n" for line in lines), nl=False, color=True)
        self._lines, self._drawn_s = len(lines), self._clock()


@dataclass
class _Shown:
    """Newest frame and state of one source."""

    counts: FrameCounts
    event: FrameEvent | None = None
    state: str = "opening"
    troubled: bool = False
    pulses: ShownPulses = field(default_factory=ShownPulses)

    def lines(self, room: int) -> list[str]:
        """Return the source's line, those of ``room`` faces, and the number of the others."""
        event = self.event
        assert event is not None
        head = f"{readable_name(event.source)}  {self.state}  {event.time_s:.1f} s  {head_text(event, self.counts)}"
        faces = [face_line(face, self.pulses.of(face)) for face in event.faces[:room]]
        lines = [f"{head}{self.pulses.notice}", *faces]
        if not event.faces:
            lines.append("  no face")
        if len(event.faces) > room:
            lines.append(f"  and {len(event.faces) - room} more")
        return lines


def face_line(face: LiveFace, pulse: str = "") -> str:
    """Return the line of one face: id, label, bar, pulse, the next labels, age; smoothed beside the newest reading."""
    name, shown = f"  #{face.id}", shown_labels(face)
    if not shown or face.label_age_ms is None:
        return f"{name}  {without_labels(face)}{pulse}"
    ranked = sorted(shown.items(), key=lambda item: -item[1])
    others = ", ".join(f"{label} {value:.0%}" for label, value in ranked[1 : 1 + OTHERS])
    label, probability = ranked[0]
    age = f"{face.label_age_ms:.0f} ms" if face.label_age_ms < 1000 else f"{face.label_age_ms / 1000:.1f} s"
    raw = [f"raw {face.label} {face.probabilities[face.label]:.0%}"] if face.smoothed and face.label else []
    notes = [*raw, f"label {age} old", *(["unchanged"] if face.reused else []), *([] if face.detected else ["hidden"])]
    bar = f"{'█' * round(BAR * probability):<{BAR}}{pulse and ' '}{pulse}"
    return f"{name:<6}{label:<12} {probability:>4.0%} {bar}  {others}  ({', '.join(notes)})"
