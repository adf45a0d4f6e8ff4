"""Write a file beside its final name; it appears there only when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emo_edge.errors import CheckpointError, InputError


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
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
