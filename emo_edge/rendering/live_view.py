"""A calm view of live events on a terminal: a line a face, drawn over the view before."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import click

from emo_edge.console.status_line import fitted
from emo_edge.console.terminal import echo
from emo_edge.inference.live.events import FrameEvent, LiveEvent, LiveFace, SourceEvent
from emo_edge.rendering.live_writers import FrameCounts, LiveWriter, head_text, trouble_line
from emo_edge.utils.text import readable_name

EVERY_S = 0.1
"""Between two drawings: faster ones only flicker."""
BAR = 20
"""Characters of a bar at 100 %."""
OTHERS = 2
"""Labels after the first one whose probability is shown."""


class LiveView(LiveWriter):
    """The source, its rate and its age in the first line, then the faces in the order of their ids."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._counts = clock, FrameCounts(clock)
        self._state, self._lines, self._drawn_s = "opening", 0, float("-inf")
        self._event: FrameEvent | None = None
        self._troubled = False

    def write(self, event: LiveEvent) -> None:
        """Draw the view, unless it was drawn a moment ago; stalls and losses stay above it as lines."""
        if isinstance(event, FrameEvent):
            self._counts.add(event)
            self._event = event
            if self._clock() - self._drawn_s >= EVERY_S:
                self._draw()
        elif isinstance(event, SourceEvent):
            self._state = event.state
            line = trouble_line(event, after_trouble=self._troubled)
            self._troubled = event.state in ("stalled", "lost") or (self._troubled and event.state == "opening")
            if line:
                self.clear()
                echo(line)

    def end(self) -> None:
        """Draw the last frame; what is printed next begins below it."""
        if self._event is not None:
            self._draw()
        self._event, self._lines = None, 0

    def clear(self) -> None:
        """Remove the view: it is drawn again with the next frame."""
        if self._lines:
            click.echo(f"\x1b[{self._lines}A\r\x1b[J", nl=False, color=True)
        self._lines, self._drawn_s = 0, float("-inf")

    def _draw(self) -> None:
        event = self._event
        assert event is not None
        shown = max(shutil.get_terminal_size().lines - 3, 1)
        head = f"{readable_name(event.source)}  {self._state}  {event.time_s:.1f} s  {head_text(event, self._counts)}"
        lines = [head, *map(face_line, event.faces[:shown])]
        if not event.faces:
            lines.append("  no face")
        if len(event.faces) > shown:
            lines.append(f"  and {len(event.faces) - shown} more")
        above = f"\x1b[{self._lines}A\r\x1b[J" if self._lines else ""
        # One write: a terminal that draws in between would flicker.
        click.echo(above + "".join(f"{fitted(line)}\n" for line in lines), nl=False, color=True)
        self._lines, self._drawn_s = len(lines), self._clock()


def face_line(face: LiveFace) -> str:
    """Return the line of one face: id, label, bar, the next labels, the age of the label."""
    name = f"  #{face.id}"
    if face.label is None or face.label_age_ms is None:
        return f"{name}  not read yet" if face.result is None else f"{name}  no labels"
    ranked = sorted(face.probabilities.items(), key=lambda item: -item[1])
    others = ", ".join(f"{label} {value:.0%}" for label, value in ranked[1 : 1 + OTHERS])
    bar = "█" * round(BAR * face.probabilities[face.label])
    age = f"{face.label_age_ms:.0f} ms" if face.label_age_ms < 1000 else f"{face.label_age_ms / 1000:.1f} s"
    notes = [f"label {age} old", *(["unchanged"] if face.reused else []), *([] if face.detected else ["hidden"])]
    percent = f"{face.probabilities[face.label]:.0%}"
    return f"{name:<6}{face.label:<12} {percent:>4} {bar:<{BAR}}  {others}  ({', '.join(notes)})"
