"""Output of commands: names, labels and answers of strangers never move a cursor, colour or reorder a line."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from emo_edge.utils.text import NAME_BREAKS, printable, readable_name

IN_JSON = "\x7f"
"""Character that JSON leaves as it is; the escape of `printable` is one of JSON's, that of a name is none."""
_shown: dict[str, str] = {}


def echo(message: Any = "", *, err: bool = False, nl: bool = True, dim: bool = False) -> None:
    """Print to stdout, or stderr, with what a terminal would obey escaped; JSON stays JSON of the same meaning."""
    text = shown_text(str(message))
    click.echo(click.style(text, dim=True) if dim else text, err=err, nl=nl)


def shown_text(message: str) -> str:
    """Return a message as `echo` prints it."""
    return printable(_in_place(message))


def show_as(word: str, shown: str) -> None:
    """Print ``shown`` wherever a message of this process has ``word``, such as an address with its password."""
    _shown[word] = shown


def _in_place(text: str) -> str:
    """Return a message without what `show_as` replaces, and with the words of the command line as `readable_name`s."""
    for word, shown in _shown.items():
        text = text.replace(word, shown)
    for word in sys.argv[1:]:
        if NAME_BREAKS.search(word.replace(IN_JSON, "")):
            text = text.replace(word, readable_name(word))
    return text


class PrintableFormatter(logging.Formatter):
    """The message of a log record alone, escaped as `echo` does."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(_in_place(super().format(record)))


def log_to_stderr(level: int) -> None:
    """Print the messages of loggers from ``level`` on to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def escape_warnings() -> None:
    """Escape the warnings of loggers that nothing else prints; of a damaged picture our error says all."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    if logging.lastResort:
        logging.lastResort.setFormatter(PrintableFormatter())
