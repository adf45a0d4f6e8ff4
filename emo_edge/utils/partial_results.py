"""Partial results of a run that was stopped: a JSON object, checked before it is used again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.utils.json_values import json_values
from emo_edge.utils.text import quoted


def kept_values(path: Path, fits: Callable[[Any], bool]) -> dict[str, Any]:
    """Read an object of partial results; empty where there is none yet.

    Raises InputError, which names the next step, for a file that is not one, or a value that does not fit.
    """
    if not path.exists():
        return {}
    try:
        values = json_values(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError(f"an object was expected, not {type(values).__name__}")
        if wrong := [name for name, value in values.items() if not fits(value)]:
            raise ValueError(f"{quoted(wrong[0])} is no measurement")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as partial results ({error}); remove it to start anew") from error
    return values


def is_number(value: Any) -> bool:
    """Return whether a parsed value is a number; JSON's true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
