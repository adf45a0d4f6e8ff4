"""Files of text: checks before they are written or read."""

from __future__ import annotations

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
