"""Names of drawings: one a source, checked against each other and against every source before anything is read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from emo_edge.errors import InputError
from emo_edge.media.folders import folder_entries
from emo_edge.media.images import EXTENSIONS
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.media.readers.credentials import drawing_stem
from emo_edge.media.sources import classify_source
from emo_edge.rendering.annotate_video import CODECS

LONGEST_STEM = 200
"""Bytes of a name without its extension; file systems take 255, and a partial file's name is longer."""
SHOWN = 3
"""Names that an error lists."""
FOLDER_NOT_FILE = "several sources are drawn into a folder, and {} is the name of one {}: give a folder's name"


def draws_a_folder(sources: Sequence[str]) -> bool:
    """Return True if the drawings of these sources are pictures in a folder."""
    return len(sources) > 1 or Path(sources[0]).is_dir()


def check_target(target: Path, sources: Sequence[str]) -> None:
    """Raise UsageError for a file's name where a folder is meant."""
    suffix = target.suffix.lower()
    if draws_a_folder(sources) and suffix in (*EXTENSIONS, *CODECS) and not target.is_dir():
        raise click.UsageError(FOLDER_NOT_FILE.format(target, "video" if suffix in CODECS else "picture"))


class DrawingNames:
    """The drawings of several sources, as pictures in the folder ``target``, or other files with another ``suffix``.

    A drawing is named after its source. Where two sources have one name, letter case and Unicode form aside, the first
    keeps it and the others are numbered; so are the clips of one video.
    """

    def __init__(self, target: Path, sources: Sequence[str], suffix: str = ".jpg") -> None:
        self._target, self._suffix = target, suffix
        self._files = source_files(sources)
        self._waiting: dict[str, list[Path]] = {}
        self._taken: set[str] = set()
        again = []
        for source in self._files:
            name = _stem(source)
            if _plain(name) in self._taken:
                again.append(source)
            else:
                self._plan(source, name)
        # After all the others, so that a second a.jpg never takes the name of a-2.jpg.
        for source in again:
            self._plan(source, self._numbered(_stem(source)))

    def check(self, *, overwrite: bool) -> None:
        """Raise InputError if a drawing would replace a source, or without ``overwrite`` any file."""
        paths = [path for planned in self._waiting.values() for path in planned]
        refuse_sources(paths, self._files)
        present = [path for path in paths if os.path.lexists(path)]
        if present and not overwrite:
            more = f" and {len(present) - SHOWN} more" if len(present) > SHOWN else ""
            raise InputError(
                f"{', '.join(map(str, present[:SHOWN]))}{more}: there already; remove them, choose another folder or "
                "`overwrite`"
            )

    def path(self, source: str) -> Path:
        """Return the drawing of the next result of ``source``."""
        planned = self._waiting.get(source)
        if planned:
            return planned.pop(0)
        name = _stem(source)
        self._plan(source, self._numbered(name) if _plain(name) in self._taken else name)
        return self._waiting[source].pop(0)

    def _plan(self, source: str, name: str) -> None:
        self._taken.add(_plain(name))
        self._waiting.setdefault(source, []).append(self._target / f"{name}{self._suffix}")

    def _numbered(self, stem: str) -> str:
        number = 2
        while _plain(f"{stem}-{number}") in self._taken:
            number += 1
        return f"{stem}-{number}"


def source_files(sources: Sequence[str]) -> list[str]:
    """List the files that the sources hold: themselves, and the pictures of folders."""
    return [path for source in sources for path in _files(source)]


def refuse_sources(outputs: Iterable[Path], sources: Iterable[str]) -> None:
    """Raise InputError if an output is one of the sources, also through a link or in other letter case."""
    owners = {identity: source for source in sources for identity in _identities(Path(source))}
    for path in outputs:
        for identity in _identities(path):
            if identity in owners:
                raise InputError(f"{path}: would replace the source {owners[identity]}; choose another name or folder")


def _files(source: str) -> list[str]:
    try:
        if classify_source(source) != "folder":
            return [source]
        return [str(entry.path) for entry in folder_entries(source) if entry.skipped is None]
    except InputError:
        return []  # reading it says what is wrong


def _stem(source: str) -> str:
    stem = "standard-input" if source == STANDARD_INPUT else drawing_stem(source)
    stem = re.sub(r"[\x00-\x1f\x7f]", "_", stem) or "source"
    while len(os.fsencode(stem)) > LONGEST_STEM:
        stem = stem[:-1]
    return stem


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _identities(path: Path) -> set[object]:
    """Return all by which a file may be known: its place, the place that links lead to, and its inode."""
    folder = os.path.realpath(path.parent)
    known: set[object] = {_plain(os.path.join(folder, path.name)), _plain(os.path.realpath(path))}
    try:
        status = path.stat()
    except (OSError, ValueError):
        return known
    return known | {(status.st_dev, status.st_ino)}
