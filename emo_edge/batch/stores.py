"""Inputs in object stores and other file systems with an address, such as ``s3://bucket/folder``, through fsspec.

What a store asks for, such as the keys of an account, comes from where its own library looks for it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from emo_edge.errors import EmoEdgeError, InputError, MissingExtraError
from emo_edge.media.readers.credentials import without_credentials
from emo_edge.media.sources import SCHEMES
from emo_edge.utils.extras import unloadable

COPY_BYTES = 1 << 20
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)


def is_in_store(name: str) -> bool:
    """Return whether ``name`` is an address of a store: it has a scheme, and that is of no camera or stream."""
    scheme, mark, _ = name.partition("://")
    return bool(mark and _SCHEME.fullmatch(scheme) and scheme.lower() not in SCHEMES)


def exists(address: str) -> bool:
    """Return whether a file or folder is there."""
    with _clear_errors(address):
        store, path = _opened(address)
        return bool(store.exists(path))


def is_folder(address: str) -> bool:
    """Return whether an address is that of a folder."""
    with _clear_errors(address):
        store, path = _opened(address)
        return bool(store.isdir(path))


def matches(pattern: str) -> Iterator[str]:
    """Yield the addresses that fit a pattern, in the order of their names; a star fits no dot at a name's start."""
    with _clear_errors(pattern):
        store, path = _opened(pattern)
        names = sorted(store.glob(path))
    asks_hidden = _last(pattern).startswith(".")
    yield from (store.unstrip_protocol(name) for name in names if asks_hidden or not _last(name).startswith("."))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def entries(folder: str) -> list[tuple[bool, str]]:
    """List a folder: True for a folder inside it, and the address of each, files first, in the order of their names."""
    with _clear_errors(folder):
        store, path = _opened(folder)
        listed = store.ls(path, detail=True)
        listing = [(one["type"] == "directory", str(one["name"]).rstrip("/")) for one in listed]
        # Some stores list the folder itself, as an empty object.
        inside = sorted(entry for entry in listing if entry[1] != path.rstrip("/"))
    return [(is_directory, store.unstrip_protocol(name)) for is_directory, name in inside]


def content(address: str, max_bytes: int) -> bytes:
    """Return what an address holds; raise InputError for more than ``max_bytes``."""
    with _clear_errors(address), opened(address) as file:
        data: bytes = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputError(f"{without_credentials(address)}: more than {max_bytes:,} bytes: shrink the image")
    return data


def copied(address: str, target: Path) -> None:
    """Write what an address holds to a file; raise InputError where it cannot be read or the disk is full."""
    with _clear_errors(address), opened(address) as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, COPY_BYTES)


def opened(address: str) -> IO[bytes]:
    """Open what an address holds."""
    with _clear_errors(address):
        store, path = _opened(address)
        file: IO[bytes] = store.open(path, "rb")
    return file


def _opened(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    scheme = address.partition("://")[0]
    if "::" in address:
        raise InputError(f"{without_credentials(address)}: a chain of addresses with :: is not read")
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise unloadable("fsspec", error) from None
    try:
        store, path = url_to_fs(address)
    except ImportError as error:
        # fsspec's own words name the library of the store.
        raise MissingExtraError(f"{scheme}://: {' '.join(str(error).split())}") from None
    except ValueError as error:
        raise InputError(f"{scheme}://: no store of that name is known ({' '.join(str(error).split())})") from None
    return store, path


@contextmanager
def _clear_errors(address: str) -> Iterator[None]:
    """Raise every error of a store's library, each of which has classes of its own, as one InputError."""
    shown = without_credentials(address)
    try:
        yield
    except EmoEdgeError:
        raise
    except FileNotFoundError:
        raise InputError(f"{shown}: no such file or folder") from None
    except Exception as error:
        words = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise InputError(f"{shown}: cannot be read ({type(error).__name__}: {words})") from None


@contextmanager
def removed_after(path: Path) -> Iterator[Path]:
    """Remove a file after the block."""
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()
