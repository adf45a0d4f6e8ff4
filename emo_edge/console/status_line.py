"""A line on a terminal's stderr that shows progress, and leaves nothing behind."""

from __future__ import annotations

import logging
import shutil
import sys
import unicodedata
from typing import Protocol

import click

from emo_edge.console.terminal import PrintableFormatter

ERASE = "\r\x1b[K"
"""Moves to the line's start and empties the line."""


class StatusLine:
    """The line under way; nothing where stderr is no terminal.

    Whoever prints something else calls `clear` first: the line has no end of its own.
    """

    def __init__(self) -> None:
        self.live = bool(sys.stderr and sys.stderr.isatty())
        self._column: int | None = None
        """Columns of a text that is being appended to; None for any other."""

    def show(self, text: str) -> None:
        """Replace the line, cut to the terminal's width: a longer one could not be erased."""
        if self.live:
            self._column = None
            click.echo(f"{ERASE}{fitted(text)}", nl=False, err=True)

    def append(self, piece: str) -> None:
        """Add a piece of a text to the line; where the line is full, the piece begins a new one in its place."""
        text = _fitting(_printable(piece), _width())
        if not self.live or not text:
            return
        columns = sum(map(_columns, text))
        if self._column is None or self._column + columns > _width():
            click.echo(ERASE, nl=False, err=True)
            self._column, text = 0, text.lstrip()
        self._column += columns
        click.echo(click.style(text, dim=True), nl=False, err=True)

    def clear(self) -> None:
        """Empty the line."""
        if self.live:
            self._column = None
            click.echo(ERASE, nl=False, err=True)


class Clearable(Protocol):
    """A drawing on a terminal that goes before something else is printed."""

    def clear(self) -> None:
        """Remove it."""


class StatusLogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log lines to stderr; each begins on an empty line."""

    def __init__(self, line: Clearable) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter())
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._line.clear()
        super().emit(record)


def fitted(text: str) -> str:
    """Return a text as one line of the terminal: cut to its width, without what would move the cursor."""
    return _fitting(_printable(text), _width())


def _width() -> int:
    """Return the columns that fill a line; the last one stays free, because some terminals wrap there."""
    return max(shutil.get_terminal_size().columns - 1, 10)


def _printable(text: str) -> str:
    """Replace line ends and control characters, which would move the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)


def _fitting(text: str, width: int) -> str:
    while sum(map(_columns, text)) > width:
        text = text[:-1]
    return text


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1
