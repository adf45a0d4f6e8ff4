"""Files: JSON, hashes, disk space, and writes that appear as a whole."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError, InputError
from emo_edge.utils.json_values import DIGITS, json_values

TRANSPORT_PACKETS = {188: 0, 192: 4, 204: 0}
"""Size of a packet of an MPEG transport stream, and offset of its sync byte: broadcast, camcorder, with error code."""
TRANSPORT_SYNC = 0x47

NUMBERS = re.compile(r"\[\n[^\[\]{}\"]*\n *\]")
"""A list without lists, objects and texts in it, as JSON with an indent."""
BLOCK = 1 << 20
NAMED = 48
"""Characters of a name that its partial file repeats: four bytes each at most, of the 255 that a name may have."""
LARGEST_JSON = 64 << 20
"""Bytes of a config, an index or a tokenizer; a vocabulary of 250,000 words has 20 MB."""
_PAGE = "an HTML page, not the file; fetch it again, signed in if its site asks for that"
_MESSAGE = "the error message of a server, not the file; fetch it again, signed in if its site asks for that"
_SUBSTITUTES = {
    b"version https://git-lfs": "a Git LFS pointer, not the file; run `git lfs pull` in its folder",
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<head": _PAGE,
    b"<!--": _PAGE,
    b"<?xml": _MESSAGE,
    b'{"error"': _MESSAGE,
    b"access denied": _MESSAGE,
    b"access to model ": _MESSAGE,
    b"entry not found": _MESSAGE,
    b"invalid username or password": _MESSAGE,
    b"not found": _MESSAGE,
    b"repository not found": _MESSAGE,
}
"""Beginnings of files that a download left in place of the real ones."""


def read_json(path: Path, absent: str, *, digits: int = DIGITS) -> Any:
    """Read a JSON file; ``absent`` names the next step where there is none, ``digits`` bounds whole numbers.

    Raises CheckpointError for a file that is missing, larger than `LARGEST_JSON`, or no JSON that `json_values` takes.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_JSON:
            raise ValueError(f"no plain file, or larger than {LARGEST_JSON >> 20} MiB")
        return json_values(path.read_bytes(), digits=digits)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{path}: no such file; {absent}") from error
    except (OSError, ValueError) as error:
        refuse_substitute(path, error)
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from error


def refuse_substitute(path: Path, error: Exception) -> None:
    """Raise CheckpointError from ``error`` if a file that cannot be read is what a download left in its place."""
    what = substitute(path)
    if what:
        raise CheckpointError(f"{path}: {what}") from error


def substitute(path: Path) -> str | None:
    """Return the kind of a file that a download left in place of the real one, and the next step; None for others."""
    try:
        # A pipe would wait for whoever writes into it.
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            begin = stream.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    except OSError:
        return None
    return next((kind for mark, kind in _SUBSTITUTES.items() if begin.startswith(mark)), None)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that a person can read, and compare with the one before: a list of numbers is one line."""
    text = json.dumps(content, indent=1, allow_nan=False)
    # A line's end stands between the parts of a list alone: in a text it is written as \\n.
    path.write_text(NUMBERS.sub(lambda one: "".join(one[0].split()), text) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in blocks."""
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


def partial_path(target: Path, suffix: str = ".partial") -> Path:
    """Return a path next to ``target`` that nobody else has; its name is short enough for any file system."""
    return target.with_name(f".{target.name[:NAMED]}.{secrets.token_hex(8)}{suffix}")


@contextmanager
def replaced_file(target: Path, *, suffix: str = ".partial", synced: bool = False) -> Iterator[Path]:
    """Yield a new path in the directory of ``target``; rename it to ``target`` at the end, remove it on failure.

    Its name is random: two containers may have one cache and one process id. Readers see the old file or the new one,
    never a part. ``synced`` waits for the disk first.
    """
    partial = partial_path(target, suffix)
    try:
        yield partial
        if synced:
            sync(partial)
        partial.replace(target)
    finally:
        with suppress(OSError):  # the directory itself may be missing, or a file
            partial.unlink(missing_ok=True)


def replace_text(target: Path, text: str) -> None:
    """Write a text file as a whole; a file of that name is replaced."""
    with replaced_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def entries_below(folder: Path) -> list[str]:
    """Return the paths of all files, links and empty folders below a folder, relative to it; a folder ends with "/"."""
    entries = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_dir():
            entries.append(name)
        elif not any(path.iterdir()):
            entries.append(f"{name}/")
    return sorted(entries)


def transport_packet_bytes(head: bytes) -> int:
    """Return the size of the transport packets that ``head`` begins with, by three sync bytes in a row; 0 for none."""
    for size, offset in TRANSPORT_PACKETS.items():
        if len(head) > 2 * size + offset and all(head[offset + part * size] == TRANSPORT_SYNC for part in range(3)):
            return size
    return 0
