"""JSON of others, read within bounds: what this module returns can be written as JSON again, and walked recursively."""

from __future__ import annotations

import json
import math
from typing import Any

from emo_edge.utils.text import quoted

DEEPEST = 64
"""Levels of lists and objects; ours have fewer than 12."""
DIGITS = 19
"""Of a whole number, as many as 64 bits have."""


MOST_VALUES = 1 << 20
"""Values of one file: a vocabulary has a value for each of its words."""


def json_values(text: str | bytes, most: int = MOST_VALUES) -> Any:
    """Parse JSON; raise ValueError naming the field for what the format or a 64-bit reader does not have.

    Refused are NaN and infinity, numbers that are infinite or longer than 64 bits, a key that is there twice, half a
    surrogate pair, more than `DEEPEST` levels, and more than ``most`` values.
    """
    try:
        values = json.loads(
            text, parse_constant=_constant, parse_int=_whole, parse_float=_finite, object_pairs_hook=_object
        )
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels of lists and objects") from error
    waiting: list[tuple[str, int, Any]] = [("", 0, values)]
    left = most
    while waiting:
        path, depth, value = waiting.pop()
        left -= len(value) if isinstance(value, list | dict) else 0
        if left < 0:
            raise ValueError(f"more than {most} values")
        if depth > DEEPEST:
            raise ValueError(f"{path[:100]}…: more than {DEEPEST} levels of lists and objects")
        if isinstance(value, str):
            _text(path, value)
        elif isinstance(value, list):
            waiting += [(f"{path}.{place}", depth + 1, inner) for place, inner in enumerate(value)]
        elif isinstance(value, dict):
            for key, inner in value.items():
                _text(path, key)
                waiting.append((f"{path}.{key}", depth + 1, inner))
    return values


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits, more than {DIGITS}")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{quoted(digits)} is too large for a number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise ValueError(f"the key {quoted(twice)} is there twice")
    return values


def _text(path: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{path.lstrip('.') or 'a key'}: half a surrogate pair, {quoted(text)}") from error
