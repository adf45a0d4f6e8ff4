"""The file of each video: one that the user names, or one a video in a folder with a record of finished ones."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from emo_edge.errors import InputError
from emo_edge.rendering.drawing_names import DrawingNames, refuse_sources
from emo_edge.storage.locks import FileLock, lock_path
from emo_edge.storage.output_paths import require_drawing
from emo_edge.utils.files import replace_text
from emo_edge.utils.json_values import json_values

SUFFIXES = (".csv", ".parquet")
RECORD = ".emo-edge-track.json"
"""In a folder of tables: what made each finished file."""


@dataclass(frozen=True)
class Targets:
    """The tables of a run."""

    paths: tuple[Path, ...]
    """One a video, in the order of the videos."""
    folder: Path | None
    """That holds them; None where the user named the file of the one video."""

    def finished(self) -> dict[str, str]:
        """Return what made the finished files of the folder by their names, as `print_of` has it."""
        if self.folder is None:
            return {}
        try:
            values = json_values((self.folder / RECORD).read_bytes())
            return {name: str(made) for name, made in values["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def note_finished(self, path: Path, made_by: str) -> None:
        """Record that a file is finished; a single file needs no record."""
        if self.folder is None:
            return
        record = self.folder / RECORD
        lock = FileLock(lock_path(record))
        lock.wait()  # another run may write into the same folder
        with closing(lock):
            files = {**self.finished(), _key(path): made_by}
            replace_text(record, json.dumps({"files": files}, indent=1, sort_keys=True, allow_nan=False) + "\n")


def planned_targets(target: Path, sources: Sequence[str], suffix: str) -> Targets:
    """Plan the table of each video.

    Raises UsageError for a file's name where several videos need a folder, InputError where a table cannot be written
    or would replace a video.
    """
    is_folder = target.is_dir()
    if len(sources) > 1 and not is_folder and target.suffix.lower() in SUFFIXES:
        raise click.UsageError(f"several videos are written into a folder, and {target} is the name of a file")
    if len(sources) > 1 or is_folder:
        names = DrawingNames(target, sources, suffix)
        targets = Targets(tuple(names.path(source) for source in sources), target)
    else:
        if not target.absolute().parent.is_dir():
            raise InputError(f"{target}: there is no folder {target.parent}")
        targets = Targets((target,), None)
    refuse_sources(targets.paths, sources)
    for path in targets.paths:
        require_drawing(path)
    return targets


def print_of(made_by: Mapping[str, Any]) -> str:
    """Return the sha256 of JSON values."""
    return hashlib.sha256(json.dumps(made_by, sort_keys=True, allow_nan=False).encode()).hexdigest()


def is_finished(targets: Targets, path: Path, made_by: str) -> bool:
    """Return True for a table that an earlier run of the same settings finished."""
    return os.path.lexists(path) and targets.finished().get(_key(path)) == made_by


def _key(path: Path) -> str:
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")
