"""Text: checks before it is written or read, and names of files that any output takes."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from emo_edge.errors import CheckpointError, InputError


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
