"""Read and write the JSON files beside weights and of benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError


def read_json(path: Path, absent: str) -> Any:
    """Read a file; ``absent`` tells the next step where it is not there.

    Raises CheckpointError for a file that is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; {absent}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from error


def write_json(path: Path, content: Any) -> None:
    """Write a file that a person can read."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
