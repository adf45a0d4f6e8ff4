"""Output paths: refused before the slow work whose result could not be written there."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.utils.cache import cache_directory

LONGEST_NAME = 220
"""Bytes of a name; file systems hold 255, and the names of lock and partial files are up to 35 longer."""
PROBE_BYTES = 4096


def require_output(target: Path) -> None:
    """Raise InputError where no file or folder ``target`` can be written, whatever is there now.

    A file is written next to it and removed: rights, a full disk and a read-only file system show in no other way.
    """
    _require_name(target)
    path = target.absolute()
    try:
        path.relative_to(path.anchor).as_posix().encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{printable(path)}: the name is not UTF-8, and not every library can open it; give another"
        ) from error
    _require_room(path)


def require_drawing(target: Path) -> None:
    """Do as `require_output` for a picture, a video or a folder of them, whose names may be any bytes."""
    if os.path.isdir(target):
        target = target / "any"
    _require_name(target)
    _require_room(target.absolute())


def require_cache(name: str) -> Path:
    """Return a folder of the user's cache; raise InputError where it cannot be written."""
    folder = cache_directory() / name
    try:
        require_output(folder / "any")
    except InputError as error:
        raise InputError(f"{folder}: the cache cannot be written; set XDG_CACHE_HOME to a folder of yours") from error
    return folder


def printable(path: Path) -> str:
    """Return a path for an error; bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _nearest_folder(path: Path) -> Path:
    """Return the folder that is there and that the path will be made in."""
    for folder in path.parents:
        try:
            folder.lstat()
        except FileNotFoundError:
            continue
        return folder
    return Path(path.anchor)


def _write_and_remove(probe: Path) -> None:
    try:
        with probe.open("xb") as file:
            file.write(bytes(PROBE_BYTES))
    finally:
        with suppress(OSError):
            probe.unlink()


def _require_name(target: Path) -> None:
    if target.name in ("", "..") or "\0" in str(target):
        raise InputError(f"{str(target)!r}: no name to write; give one")


def _require_room(path: Path) -> None:
    length = len(os.fsencode(path.name))
    if length > LONGEST_NAME:
        raise InputError(f"{path.name[:40]}...: a name of {length} bytes; give one of at most {LONGEST_NAME}")
    try:
        if os.path.ismount(path):
            raise OSError(errno.EBUSY, "a mount point cannot be replaced; name a folder in it", str(path))
        _write_and_remove(_nearest_folder(path) / f".{secrets.token_hex(8)}.probe")
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be written ({error.strerror}); choose another place") from error
