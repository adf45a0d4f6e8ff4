"""Read and write the JSON files beside weights and of benchmarks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError, InputError

BLOCK = 1 << 20


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


def sha256_of(path: Path) -> str:
    """Hash a file in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file is on the disk, so that a rename never names half of it."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def require_disk_space(directory: Path, needed: int) -> None:
    """Raise InputError if ``directory``'s disk has fewer than ``needed`` bytes left."""
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise InputError(
            f"{directory.parent}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; "
            "make room or choose another place"
        )


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a path to write to, renamed to ``target`` when all is well and removed when not."""
    if target.exists():
        raise CheckpointError(f"{target}: already there; give another name")
    partial = target.with_name(f"{target.name}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:  # numpy's own has no errno
        raise InputError(f"{target}: cannot be written: {error}; make room or choose another place") from error
    finally:
        partial.unlink(missing_ok=True)
