"""Figures of a report as text, each with the JSON pointer of its value in ``report.json``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emo_edge.benchmarks.report.schema_types import Interval

NOT_MEASURED = "not measured"
UNSHOWABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters, marks that change the direction of writing, lone surrogates."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table."""

    text: str
    source: str = ""
    """JSON pointer (RFC 6901) into ``report.json``."""
    missing: bool = False
    number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of a row is its name."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def clean(text: str) -> str:
    """Replace characters that no page or terminal should get."""
    return UNSHOWABLE.sub("\ufffd", text)


def pointer(*parts: str | int) -> str:
    """Write a JSON pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def worded(text: str | None, source: str, missing: str = NOT_MEASURED) -> Cell:
    """Show a text."""
    return Cell(clean(text), source) if text else Cell(missing, source, missing=True)


def figure(text: str | None, source: str, missing: str = NOT_MEASURED) -> Cell:
    """Show a number's text, aligned with other numbers."""
    return Cell(text or missing, source, missing=text is None, number=True)


def percent(interval: Interval | None, source: str) -> Cell:
    """Show a fraction in percent with its interval."""
    return figure(percent_text(interval) if interval else None, source)


def percent_text(interval: Interval) -> str:
    """Write a fraction in percent with its interval: ``86.2 % (83.9–88.2)``."""
    if interval.low is None or interval.high is None:
        return f"{100 * interval.value:.1f} %"
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def points(interval: Interval | None, source: str, missing: str = NOT_MEASURED) -> Cell:
    """Show a difference of fractions in percentage points."""
    return figure(points_text(interval) if interval else None, source, missing)


def points_text(interval: Interval) -> str:
    """Write a difference in percentage points: ``−0.2 (−0.6 to +0.1)``."""
    if interval.low is None or interval.high is None:
        return signed(100 * interval.value)
    return f"{signed(100 * interval.value)} ({signed(100 * interval.low)} to {signed(100 * interval.high)})"


def signed(value: float, digits: int = 1) -> str:
    """Write a number with its sign; one that rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def milliseconds(value: float | None, source: str, missing: str = NOT_MEASURED) -> Cell:
    """Show a time in milliseconds."""
    return figure(None if value is None else ms_text(value), source, missing)


def ms_text(value: float) -> str:
    """Write milliseconds with three figures or so."""
    if 0 < value < 0.01:
        return f"{value:.1g}" if value >= 1e-4 else "under 0.0001"
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f}"


def size(value: float | None, source: str, missing: str = NOT_MEASURED) -> Cell:
    """Show bytes."""
    return figure(None if value is None else size_text(value), source, missing)


def size_text(value: float) -> str:
    """Write bytes as kB, MB or GB, of a thousand each."""
    if value < 1e5:
        return f"{value / 1e3:.1f} kB"
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def scientific(value: float | None, source: str, missing: str = NOT_MEASURED) -> Cell:
    """Show a small number."""
    return figure(None if value is None else f"{value:.1e}".replace("e-0", "e-").replace("-", "−"), source, missing)


def fixed(value: float | None, source: str, digits: int = 3, missing: str = NOT_MEASURED) -> Cell:
    """Show a number with so many digits after the point."""
    return figure(None if value is None else f"{value:.{digits}f}", source, missing)


def count(value: int | None, source: str) -> Cell:
    """Show a whole number."""
    return figure(None if value is None else str(value), source)


def any_measured(cells: Sequence[Cell]) -> bool:
    """Return True if any cell holds a figure."""
    return any(not cell.missing for cell in cells)
