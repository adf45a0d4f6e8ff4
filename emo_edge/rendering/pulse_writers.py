"""Writers of heart rates on stdout: text, JSON, JSON lines, CSV. Each number has "Not a medical device." with it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from typing import Any

from emo_edge.console.terminal import echo
from emo_edge.inference.signals.heart_rate import NOTICE, HeartRate, PulseWindow
from emo_edge.media.sources import without_password
from emo_edge.rendering.result_writers import cell
from emo_edge.utils.text import readable_name, utf8_name

PULSE_VERSION = 1
"""Of a JSON object."""
COLUMNS = ("source", "face", "start_s", "end_s", *(one.name for one in fields(HeartRate)), "notice")
DIGITS = 4
"""Of a number in JSON and CSV."""


class PulseWriter:
    """Prints windows as they come; this one as text for people."""

    def __init__(self) -> None:
        self._source: str | None = None

    def begin(self) -> None:
        """Print what stands before the windows."""

    def write(self, source: str, window: PulseWindow) -> None:
        """Print one window."""
        if source != self._source:
            echo(readable_name(without_password(source)))
            self._source = source
        who = f", face {window.face + 1}" if window.face else ""
        echo(f"  {window.start_s:.1f}–{window.end_s:.1f} s{who}: {window.heart_rate}")

    def end(self) -> None:
        """Print what stands after the windows."""


class JsonPulseWriter(PulseWriter):
    """One JSON array."""

    def __init__(self) -> None:
        super().__init__()
        self._written = 0

    def begin(self) -> None:
        """Open the array."""
        echo("[", nl=False)

    def write(self, source: str, window: PulseWindow) -> None:
        """Print one window in one write, so that after Ctrl-C `end` closes a valid array."""
        comma = "," if self._written else ""
        self._written += 1
        echo(f"{comma}\n{_dumped(source, window)}", nl=False)

    def end(self) -> None:
        """Close the array."""
        echo("\n]")


class JsonLinesPulseWriter(PulseWriter):
    """One JSON object a line."""

    def write(self, source: str, window: PulseWindow) -> None:
        """Print one window."""
        echo(_dumped(source, window))


class CsvPulseWriter(PulseWriter):
    """One row a window; an unreliable one has no number."""

    def begin(self) -> None:
        """Print the names of the columns."""
        echo(",".join(COLUMNS))

    def write(self, source: str, window: PulseWindow) -> None:
        """Print one window."""
        document = {**window_json(source, window), "source": readable_name(without_password(source))}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="")
        writer.writerow([cell(document[name]) for name in COLUMNS])
        echo(text.getvalue())


WRITERS = {"text": PulseWriter, "json": JsonPulseWriter, "jsonl": JsonLinesPulseWriter, "csv": CsvPulseWriter}


def window_json(source: str, window: PulseWindow) -> dict[str, Any]:
    """Return the JSON object of a window; every number is finite and rounded."""
    values = {
        name: round(value, DIGITS) if isinstance(value, float) else value for name, value in window.as_dict().items()
    }
    return {
        "kind": "pulse",
        "pulse_version": PULSE_VERSION,
        "source": utf8_name(without_password(source)),
        **values,
        "notice": NOTICE,
    }


def _dumped(source: str, window: PulseWindow) -> str:
    return json.dumps(window_json(source, window), allow_nan=False)
