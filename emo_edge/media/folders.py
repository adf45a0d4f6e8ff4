"""List a folder by content: its pictures, and every other entry with the reason why it is not read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from emo_edge.errors import InputError
from emo_edge.media.headers.file_signatures import MOVING, STILL, kind_of_file
from emo_edge.storage.own_outputs import own_names

PICTURE_NAMES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib")
"""Extensions of pictures that are always read: a file of such a name is one, even if it cannot be read."""
OPTIONAL_NAMES = (".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".hif")
"""Extensions of pictures that need the extra ``photos``."""


class FolderEntry(NamedTuple):
    """One entry of a folder."""

    path: Path
    skipped: str | None
    """The reason why it is not read; None for a picture."""


def folder_entries(folder: str | Path) -> list[FolderEntry]:
    """List every entry of ``folder``, sorted by name; raise InputError where it is missing or cannot be listed.

    What this run itself writes there is no entry. A picture is known by its content. A damaged one, whose content is
    of no kind, is known by its extension, so that reading it gives an error.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    try:
        own = own_names(folder)
        paths = sorted(path for path in folder.iterdir() if path.name not in own)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    return [FolderEntry(path, unread_reason(path)) for path in paths]


def labelled_folders(folder: Path) -> list[Path]:
    """Return the folders of a folder that holds a folder a label, and no picture itself; none of any other."""
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return folders if folders and all(entry.skipped for entry in folder_entries(folder)) else []


def image_paths(folder: str | Path) -> list[Path]:
    """List the pictures of ``folder`` by content, sorted by name; not its subfolders, not hidden files.

    Raises InputError when the folder is missing or unreadable or holds no picture.
    """
    entries = folder_entries(folder)
    paths = [entry.path for entry in entries if entry.skipped is None]
    if not paths:
        raise InputError(f"{folder}: holds no picture{_first_reasons(entries)} (subfolders are not read)")
    return paths


def _first_reasons(entries: list[FolderEntry], count: int = 3) -> str:
    if not entries:
        return ", it is empty"
    named = [f"{entry.path.name} ({entry.skipped})" for entry in entries[:count]]
    return f" but {', '.join(named)}{', ...' if len(entries) > count else ''}"


def portable_name(name: str, folder: Path) -> str:
    """Return a path of a list with "/", as Windows means its backslashes; a file of that very name comes first."""
    try:
        return name if "\\" not in name or (folder / name).exists() else name.replace("\\", "/")
    except (OSError, ValueError):  # a name too long or with a zero byte: reading it says so
        return name


def link_problem(path: Path) -> str:
    """Return the reason why a link leads nowhere."""
    target = os.readlink(path)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f"a link to {target}, which leads back to it"
    return f"a link to {target}, which is missing"


def unread_reason(path: Path) -> str | None:
    """Return why an entry of a folder is no picture; None for one that is, or that fails when it is read."""
    if path.name.startswith("."):
        return "hidden"
    try:
        if path.is_symlink() and not path.exists():
            return link_problem(path)
        if path.is_dir():
            return "a folder"
        if not path.is_file():
            return "a pipe, socket or device"
        return _content_reason(path, kind_of_file(path))
    except OSError as error:
        named = path.suffix.lower() in (*PICTURE_NAMES, *OPTIONAL_NAMES)
        return None if named else f"cannot be read ({error.strerror})"


def _content_reason(path: Path, kind: str | None) -> str | None:
    if kind in STILL or (kind is None and path.suffix.lower() in (*PICTURE_NAMES, *OPTIONAL_NAMES)):
        return None
    if kind in MOVING:
        return f"a video ({kind}): give it as a source of its own"
    return f"{kind} is not read" if kind else "not a picture"
