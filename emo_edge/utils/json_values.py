"""JSON of others, read within bounds: numbers are finite and fit 64 bits, texts can be written, levels are few."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from emo_edge.utils.text import NAME_BREAKS, quoted

DEEPEST = 64
"""Levels of lists and objects; ours have fewer than 12."""
DIGITS = 19
"""Of a whole number, as many as 64 bits have."""
MOST_VALUES = 1 << 20
"""Values of one file: a vocabulary has a value for each of its words."""


class _Refused(NamedTuple):
    """Stands for a value that is refused, until its path is known."""

    reason: str


def json_values(text: str | bytes, most: int = MOST_VALUES, digits: int = DIGITS) -> Any:
    """Parse JSON; raise ValueError naming the field of what is refused.

    Refused are NaN and infinity, whole numbers of more than ``digits`` digits (64 bits have 19), a key that is there
    twice, half a surrogate pair, more than `DEEPEST` levels, and more than ``most`` values.
    """
    # json itself would guess UTF-16 and UTF-32 from the first bytes.
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        values = json.loads(
            text,
            parse_constant=_constant,
            parse_int=partial(_whole, digits),
            parse_float=_finite,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels of lists and objects") from error
    _check("", "the file", values)
    waiting: list[tuple[str, int, Any]] = [("", 1, values)]
    while waiting:
        path, depth, container = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"{path[1:60]}…: more than {DEEPEST} levels of lists and objects")
        for key, value in _items(container):
            _check(path, key, value)
            if isinstance(value, list | dict):
                waiting.append((f"{path}.{key}", depth + 1, value))
            most -= 1
        if most < 0:
            raise ValueError(f"{path[1:60] or 'the file'}: too many values")
    return values


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(container, dict):
        return container.items()
    return enumerate(container) if isinstance(container, list) else ()


def _check(path: str, key: Any, value: Any) -> None:
    """Raise ValueError, with the path, for a refused value or half a surrogate pair."""
    reason = value.reason if isinstance(value, _Refused) else ""
    for text in (key, value):
        try:
            if isinstance(text, str):
                text.encode("utf-8")
        except UnicodeEncodeError:
            reason = f"half a surrogate pair in {quoted(text)}"
    if reason:
        field = f"{path}.{key}".lstrip(".")
        raise ValueError(f"{quoted(field) if NAME_BREAKS.search(field) else field[:200]}: {reason}")


def _constant(name: str) -> _Refused:
    return _Refused(f"{name} is no number of JSON")


def _whole(most: int, digits: str) -> int | _Refused:
    size = len(digits.lstrip("-"))
    return int(digits) if size <= most else _Refused(f"a number of {size} digits, more than {most}")


def _finite(digits: str) -> float | _Refused:
    number = float(digits)
    return number if math.isfinite(number) else _Refused(f"{quoted(digits)} is too large for a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        met: set[str] = set()
        for key, _ in pairs:
            if key in met:
                values[key] = _Refused("this key is there twice")
            met.add(key)
    return values
