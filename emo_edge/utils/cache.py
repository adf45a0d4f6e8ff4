"""The user's cache directory, and small JSON files in it that may vanish at any time."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.utils.files import replaced_file


def cache_directory() -> Path:
    """Return ``$XDG_CACHE_HOME/emo-edge`` (``~/.cache/emo-edge``); it may not exist yet.

    Raises InputError for a user without a home, such as a number that has no name.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise InputError("this user has no home folder: set XDG_CACHE_HOME to a folder of yours") from error
    return Path(base) / "emo-edge"


def user_cache(name: str) -> Path | None:
    """Return a folder of the user's cache, which may not exist yet; None for a user without a home."""
    with contextlib.suppress(InputError):
        return cache_directory() / name
    return None


def read_cached(name: str) -> dict[str, Any]:
    """Read a JSON object from the cache; empty where it is missing or broken."""
    try:
        values = json.loads((cache_directory() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, InputError):
        return {}
    return values if isinstance(values, dict) else {}


def write_cached(name: str, values: dict[str, Any]) -> None:
    """Replace a JSON object of the cache as a whole; a cache that cannot be written is no error."""
    with contextlib.suppress(OSError, InputError):
        path = cache_directory() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as partial:
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(values), encoding="utf-8")
