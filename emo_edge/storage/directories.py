"""Directories that are replaced at once: a reader meets the old one or the new one, whole."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from emo_edge.errors import CheckpointError, EmoEdgeError
from emo_edge.storage.locks import FileLock, lock_path
from emo_edge.storage.renames import exchanged
from emo_edge.utils.files import partial_path

REPLACED_SUFFIX = ".replaced"
"""Of the old directory's name while there is no exchange: between two renames the name has none."""
ATTEMPTS = 100
"""To read a directory as a whole while another process replaces it again and again."""
GAP_S = 0.02
"""Between two attempts while the name is missing; all together, a writer that was stopped there is waited for 2 s."""
LOOKS = 5
"""At a name that is missing, before it is called missing."""
LOOK_S = 0.002
"""Between two of them."""
Result = TypeVar("Result")


def replaced_path(target: Path) -> Path:
    """Return the name of the old directory while it is replaced without an exchange."""
    return target.with_name(f".{target.name}{REPLACED_SUFFIX}")


def put_in_place(directory: Path, target: Path) -> Path | None:
    """Rename ``directory`` to ``target``; return the path of the directory that was there, None if there was none.

    The exchange is atomic. Without one there are two renames, and `restored` undoes the first where the second was
    never made; then the caller holds a lock.
    """
    if not os.path.lexists(target):
        directory.rename(target)
        return None
    if exchanged(directory, target):
        return directory
    old = replaced_path(target)
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    try:
        directory.rename(target)
    except BaseException:
        old.rename(target)
        raise
    return old


def restored(target: Path) -> bool:
    """Bring a directory back whose replacement was stopped between two renames; the caller holds the lock."""
    old = replaced_path(target)
    if os.path.lexists(target) or not old.is_dir():
        return False
    old.rename(target)
    return True


def read_whole(directory: Path, read: Callable[[Path], Result]) -> Result:
    """Call ``read`` until the directory was the same one from start to end; return its value, or raise its error.

    Without an exchange the name is missing for a moment, and that is waited for.
    """
    for _ in range(ATTEMPTS):
        with _held(directory) as before:
            try:
                result = read(directory)
            except EmoEdgeError:
                if _unchanged(directory, before):
                    raise
            else:
                if _unchanged(directory, before):
                    return result
        if _identity(directory) is None:
            time.sleep(GAP_S)
    return read(directory)


@contextmanager
def _held(directory: Path) -> Iterator[tuple[int, int] | None]:
    """Yield the identity of a directory and hold it open, so that no new one gets its number meanwhile."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        yield _identity(directory)
        return
    try:
        status = os.fstat(descriptor)
        yield status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def _unchanged(directory: Path, before: tuple[int, int] | None) -> bool:
    now = _identity(directory)
    return now == before and (now is not None or _is_missing(directory))


def _is_missing(directory: Path) -> bool:
    """Return whether a name has no directory and none is about to get it.

    A writer may finish its second rename between the two questions of one look, so one look proves nothing.
    """
    for _ in range(LOOKS):
        if replaced_path(directory).is_dir() or _identity(directory) is not None:
            return False
        time.sleep(LOOK_S)
    return True


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def replaced_directory(target: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a new directory next to ``target``; put it in its place at the end, remove it on failure.

    Without ``overwrite`` a directory that holds anything by then stays, and CheckpointError is raised.
    """
    partial = partial_path(target)
    partial.mkdir(parents=True)
    try:
        yield partial
        lock = FileLock(lock_path(target))
        lock.wait()
        with closing(lock):
            restored(target)
            if not overwrite and target.is_dir() and any(target.iterdir()):
                raise CheckpointError(f"{target}: another program has written it meanwhile; give another directory")
            old = put_in_place(partial, target)
            if old:
                shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
