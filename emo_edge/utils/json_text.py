"""JSON that others wrote, parsed within bounds: nothing in it crashes, fills or stalls what reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from emo_edge.errors import InputError

DEEPEST = 64
"""Levels of lists and objects. Ours have seven; a few hundred exhaust the stack of what checks or copies them."""
DIGITS = 20
"""Of a whole number: 2 ** 64 has as many. One of 400 digits fits no float and no tensor."""
SHOWN = 60
"""Characters of a key that an error shows."""
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


class _Unusable(NamedTuple):
    """A number that no field can hold."""

    reason: str


def parsed_json(content: str | bytes) -> Any:
    """Parse JSON; raise ValueError, which names the key, for what no reader of ours can use.

    That is a text that is no JSON, NaN and infinity, numbers beyond `DIGITS` digits or a float's range, half a
    surrogate pair, and nesting beyond `DEEPEST` levels.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    unusable = list[_Unusable]()

    def refused(reason: str) -> _Unusable:
        unusable.append(_Unusable(reason))
        return unusable[-1]

    def whole(digits: str) -> Any:
        return int(digits) if len(digits) <= DIGITS else refused(f"a number of {len(digits)} digits")

    def fraction(digits: str) -> Any:
        number = float(digits)
        return number if math.isfinite(number) else refused(f"{digits[:SHOWN]} is beyond a float's range")

    try:
        values = json.loads(text, parse_int=whole, parse_float=fraction, parse_constant=refused)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from error
    if unusable or _is_deep(values) or _HALF_PAIR.search(text):
        for problem in _problems(values):
            raise ValueError(problem)
    return values


def kept_values(path: Path, fits: Callable[[Any], bool]) -> dict[str, Any]:
    """Read an object of partial results; empty where there is none yet.

    Raises InputError, which names the next step, for a file that is not one, or a value that does not fit.
    """
    if not path.exists():
        return {}
    try:
        values = parsed_json(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError(f"an object was expected, not {type(values).__name__}")
        if wrong := [name for name, value in values.items() if not fits(value)]:
            raise ValueError(f"{_short(wrong[0])} is no measurement")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as partial results ({error}); remove it to start anew") from error
    return values


def is_number(value: Any) -> bool:
    """Return whether a parsed value is a number; JSON's true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_deep(values: Any) -> bool:
    level = [values] if isinstance(values, dict | list) else []
    for _ in range(DEEPEST):
        if not level:
            return False
        containers = [value.values() if isinstance(value, dict) else value for value in level]
        level = [child for container in containers for child in container if isinstance(child, dict | list)]
    return bool(level)


def _problems(values: Any) -> Iterator[str]:
    """Yield what is unusable, each with the path of its key, without a call for each level."""
    waiting: list[tuple[str, int, Any]] = [("", 0, values)]
    while waiting:
        path, depth, value = waiting.pop()
        if isinstance(value, _Unusable):
            yield f"{path or 'its value'}: {value.reason}"
        elif isinstance(value, str) and _is_half(value):
            yield f"{path or 'its value'}: half a surrogate pair, which is no character"
        elif isinstance(value, dict | list):
            if depth >= DEEPEST:
                yield f"{path}: nested deeper than {DEEPEST} levels"
                return
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            for key, entry in entries:
                name = f"{path}.{_short(key)}" if path else _short(key)
                if isinstance(key, str) and _is_half(key):
                    yield f"{name}: half a surrogate pair in a key"
                waiting.append((name[-4 * SHOWN :], depth + 1, entry))


def _is_half(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _short(key: object) -> str:
    text = str(key)
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
