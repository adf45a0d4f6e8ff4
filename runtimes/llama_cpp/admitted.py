"""GGUF files that this process may open although they are no LLaMA that emo-edge exported.

A child process opened each of them before: see `emo_edge.runtimes.mtmd.proof`.
"""

from __future__ import annotations

from pathlib import Path

_admitted: set[tuple[int, ...]] = set()


def admit(path: Path) -> None:
    """Let this process open a file, as it is now."""
    _admitted.add(file_signature(path))


def is_admitted(path: Path) -> bool:
    """Return True for a file that was admitted and has not changed since."""
    return file_signature(path) in _admitted


def file_signature(path: Path) -> tuple[int, ...]:
    """Return what changes when a file's bytes do, and stays when its folder is renamed."""
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
