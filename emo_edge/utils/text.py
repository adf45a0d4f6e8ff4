"""Text of others: checks before it is written or read, and its form on a terminal and in names."""

from __future__ import annotations

import re
import unicodedata
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
    r"""Escape what a terminal would obey, as ``\u001b``: text stays readable, and JSON means the same.

    A byte of a name that is not UTF-8 becomes ``\xe9``, as in `utf8_name` and `utf8_text`.
    """
    return UNPRINTABLE.sub(lambda match: _unprintable(match[0]), text)


def _unprintable(char: str) -> str:
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else f"\\u{ord(char):04x}"


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


_ORDER_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the order in which a terminal shows the others."""


def readable_name(name: str) -> str:
    """Return a file's name for a terminal, without control characters: as `utf8_name`, or quoted like it."""
    controls = any(char in _ORDER_MARKS or unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in name)
    return _quoted(name) if controls else utf8_name(name)


def utf8_name(name: str) -> str:
    r"""Return a file's name as it is, or if it is not UTF-8 as a shell quotes it: ``$'caf\xe9.jpg'``.

    Nothing is lost: bash and zsh read it back, and a name that looks quoted already is quoted, too.
    """
    return _quoted(name) if name.startswith("$'") or _not_utf8(name) else name


def utf8_text(text: str) -> str:
    r"""Return a message in which a name's bytes that are not UTF-8 are written as ``\xe9``."""
    escaped = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return escaped.encode("utf-8", "backslashreplace").decode()


def _not_utf8(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _quoted(name: str) -> str:
    return "$'" + "".join(map(_escaped, name)) + "'"


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char in _ORDER_MARKS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
        errors = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
        return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", errors))
    return char
