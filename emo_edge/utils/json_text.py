"""JSON that others wrote: parsed within bounds, and read as a table of partial results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.utils.json_values import json_values
from emo_edge.utils.text import quoted

MOST_VALUES = 1 << 24
"""Values of a file of results; ``report.json`` holds every raw time."""


def parsed_json(content: str | bytes) -> Any:
    """Parse JSON as `json_values` does, with room for results; raise ValueError naming the field of what is refused."""
    # json itself would guess UTF-16 and UTF-32 from the first bytes.
    return json_values(content.decode("utf-8") if isinstance(content, bytes) else content, MOST_VALUES)


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
            raise ValueError(f"{quoted(wrong[0])} is no measurement")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as partial results ({error}); remove it to start anew") from error
    return values


def is_number(value: Any) -> bool:
    """Return whether a parsed value is a number; JSON's true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
