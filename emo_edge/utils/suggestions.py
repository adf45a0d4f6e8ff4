"""Names without their spelling, and hints for one that was typed almost right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LEAST_PREFIX = 3
"""Letters of a beginning that stands for the names which begin so."""
MOST = 2
"""Names that a hint offers."""


def plain(word: str) -> str:
    """Return a label without its spelling: case, underscores and spaces around."""
    return " ".join(word.replace("_", " ").casefold().split())


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return "; did you mean NAME?" for the choices that are spelled almost like ``word``; nothing if none is."""
    names = list(close_names(word, choices))
    return f"; did you mean {' or '.join(names)}?" if names else ""


def close_names(word: str, choices: Iterable[str]) -> list[str]:
    """List the choices that are spelled almost like ``word``, the closest first; not ``word`` itself."""
    names = {name.lower(): name for name in choices if name != word}
    typed = word.strip().lower()
    close = get_close_matches(typed, names, n=1)
    if not close and len(typed) >= LEAST_PREFIX:
        close = [name for name in names if name.startswith(typed)][:MOST]
    return [names[name] for name in close]
