"""Text of others: checks before it is written or read, and its form on a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError, InputError

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a cursor, colour, erase or reorder what a terminal shows, and those it has no bytes for; all but
the tab and the end of a line."""
NAME_BREAKS = re.compile(f"[\t\n]|{UNPRINTABLE.pattern}")
"""Characters that no name holds."""
QUOTED = 60
"""Characters of a foreign value that an error repeats."""


def printable(text: str) -> str:
    r"""Escape what a terminal would obey, as ``\u001b``: text stays readable, and JSON means the same."""
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def quoted(value: Any) -> str:
    """Return a foreign value as an error repeats it: escaped, quoted if it is text, and shortened."""
    text = repr(value[: QUOTED + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= QUOTED + 2 else f"{text[:QUOTED]}…"


def writable(text: str) -> str:
    """Refuse half a surrogate pair, which no encoding can write and the tokenizers crash on."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"the text is not valid Unicode at character {error.start}: {text[error.start]!r}") from error
    return text


def require_file(path: Path) -> None:
    """Raise CheckpointError if a tokenizer's file is missing."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; copy it from the checkpoint this one was made of")
