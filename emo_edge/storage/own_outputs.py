"""Names that this run writes, so that a folder that is read does not count them among its entries."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

STANDARD_STREAMS = (1, 2)
"""Output and errors: a shell may write both into a folder that is read."""
_names: dict[str, set[str]] = {}
"""Names by the real path of their folder."""


def claim_names(paths: Iterable[Path]) -> None:
    """Remember files and folders that this run writes, whether they are there yet or not."""
    for path in paths:
        _names.setdefault(os.path.realpath(path.parent), set()).add(path.name)


def release_names(paths: Iterable[Path]) -> None:
    """Forget names again; those that were not claimed are passed over."""
    for path in paths:
        folder = os.path.realpath(path.parent)
        left = _names.get(folder, set()) - {path.name}
        if left:
            _names[folder] = left
        else:
            _names.pop(folder, None)


def own_names(folder: str | Path) -> frozenset[str]:
    """Return the names in a folder that this run writes: those claimed, and files that its output is written to.

    Raises OSError where the folder cannot be listed.
    """
    claimed, files = _names.get(os.path.realpath(folder), set()), _stream_files()
    if not files:
        return frozenset(claimed)
    with os.scandir(folder) as entries:
        written = {entry.name for entry in entries if entry.inode() in files and _is_one_of(entry, files)}
    return frozenset(claimed | written)


def _stream_files() -> dict[int, int]:
    """Return inode and device of the plain files that the standard streams are; none of a closed stream."""
    files = {}
    for descriptor in STANDARD_STREAMS:
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            files[status.st_ino] = status.st_dev
    return files


def _is_one_of(entry: os.DirEntry[str], files: dict[int, int]) -> bool:
    return entry.stat(follow_symlinks=False).st_dev == files[entry.inode()]
