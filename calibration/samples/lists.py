"""Lists of pictures: a folder, a folder a label, a CSV or a JSONL list; `calibrate` and `bench` read them here."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from emo_edge.assets.packaged import Sample
from emo_edge.errors import InputError
from emo_edge.media.crops import Box
from emo_edge.media.folders import OPTIONAL_NAMES, PICTURE_NAMES, image_paths, labelled_folders, portable_name
from emo_edge.media.sources import VIDEO_EXTENSIONS
from emo_edge.utils.json_values import json_values

COLUMN_NAMES = ("image", "label", "x0", "y0", "x1", "y1")
NAMES = (*PICTURE_NAMES, *OPTIONAL_NAMES, *VIDEO_EXTENSIONS)
"""Extensions by which a first line without the word image is one of the list."""
COLUMNS = "image (a path beside the list), label (may be empty), and x0, y0, x1, y1 of the face in pixels (all or none)"


def listed_samples(source: Path) -> list[Sample]:
    """List the pictures of a folder, of its subfolders (each named after a label), or of a ``.csv`` or ``.jsonl`` file.

    Nothing is opened yet. Raises InputError for a folder that holds no picture, and for a list with a broken line.
    """
    if source.is_dir():
        try:
            return _folder(source)
        except OSError as error:
            raise InputError(f"{error.filename or source}: cannot be listed: {error.strerror}") from error
    if not source.is_file():
        raise InputError(f"{source}: no such file or folder; `samples` takes a folder, a .csv or a .jsonl")
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if source.suffix.lower() not in readers:
        raise InputError(f"{source}: `samples` takes a folder, a .csv or a .jsonl, not {source.suffix or 'this'}")
    try:
        rows = list(readers[source.suffix.lower()](source))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{source}: not readable as {source.suffix.lower()}: {error}") from error
    if not rows:
        raise InputError(f"{source}: lists no picture; a line has {COLUMNS}")
    return [_sample(row, source, line) for line, row in rows]


def _folder(folder: Path) -> list[Sample]:
    labelled = labelled_folders(folder)
    if labelled:
        return [
            Sample(f"{label.name}/{path.name}", path, None, label.name)
            for label in labelled
            for path in image_paths(label)
        ]
    return [Sample(path.name, path, None, None) for path in image_paths(folder)]


def _csv_rows(source: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    with source.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True, skipinitialspace=True)
        columns: Sequence[str] = ()
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if columns or _is_headless(cells, source.parent):
                columns = columns or COLUMN_NAMES
                yield reader.line_num, dict(zip(columns, cells, strict=False))
            else:
                columns = [cell.lower() for cell in cells]


def _is_headless(first: Sequence[str], folder: Path) -> bool:
    """Return True if the first line names a picture or a clip already: the columns are then in their usual order."""
    if "image" in (cell.lower() for cell in first):
        return False
    name = first[0].replace("\\", "/")
    return PurePosixPath(name).suffix.lower() in NAMES or (folder / name).is_file()


def _jsonl_rows(source: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    # Only line feeds end a line: a string may hold other separators of Unicode.
    for number, line in enumerate(source.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            row = json_values(line)
            yield number, row if isinstance(row, dict) else {}


def _sample(row: Mapping[str, Any], source: Path, line: int) -> Sample:
    name, label = row.get("image"), row.get("label") or None
    if not isinstance(name, str) or not name or not isinstance(label, (str, type(None))):
        raise InputError(f"{source}, line {line}: a line has {COLUMNS}")
    name = portable_name(name.strip(), source.parent)
    return Sample(name, source.parent / name, _box(row, f"{source}, line {line}"), label)


def _box(row: Mapping[str, Any], line: str) -> Box | None:
    given = [row.get(name) for name in ("x0", "y0", "x1", "y1")]
    if all(value in (None, "") for value in given):
        return None
    try:
        x0, y0, x1, y1 = (float(value) for value in given)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"{line}: x0, y0, x1, y1 are four numbers, not {given}") from error
    if not (abs(x0) < 1e6 and abs(y0) < 1e6 and x0 < x1 < 1e6 and y0 < y1 < 1e6):
        raise InputError(f"{line}: a face box has x1 > x0 and y1 > y0 in pixels, not {given}")
    return (x0, y0, x1, y1)
