"""Action units that a tracker wrote: one CSV file a video, a row a frame and face, as OpenFace and emo-edge write them.

Columns by name: ``frame``; ``AU01_c`` or ``AU1_active`` is 1 or 0, ``AU01_r`` or ``AU1_intensity`` from 0 to 5,
``AU01`` (py-feat), ``AU01_p`` or ``AU1_presence`` a probability. ``face_id`` and ``success`` may be missing; a row
without success, and an empty cell, is a frame without a prediction.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.datasets.layout import csv_rows, unreadable, whole_number
from emo_edge.errors import InputError

FloatArray = NDArray[np.float64]
FRAME, FACE, SUCCESS = "frame", "face_id", "success"
ACTIVE_FROM = 0.5
"""Probability from which a unit counts as active where no column says it."""
HIGHEST = {"c": 1.0, "p": 1.0, "r": 5.0}
KINDS = {"active": "c", "intensity": "r", "presence": "p", "": "p"}
"""Of columns without OpenFace's letters."""
_COLUMN = re.compile(r"AU(?P<unit>\d{1,2})(?:_(?P<kind>[crp]|active|intensity|presence))?")


@dataclass(frozen=True)
class UnitPredictions:
    """Predictions for the frames of one video. A unit without any of its columns is NaN throughout."""

    frames: NDArray[np.int64]
    """Numbers of the frames as the tracker counts them, [M], ascending."""
    active: FloatArray
    """1 or 0, [M, U]; NaN where there is none."""
    probabilities: FloatArray
    """Of an active unit, [M, U]; likewise."""
    intensities: FloatArray
    """0 to 5, [M, U]; likewise."""
    first_frame: int
    """The lowest number that the tracker gave a frame, with a face or without."""
    last_frame: int
    """The highest one."""
    other_faces: int = 0
    """Rows of other faces, which are left out."""


def predictions_of(
    units: int,
    frames: NDArray[np.int64],
    *,
    active: FloatArray | None = None,
    probabilities: FloatArray | None = None,
    intensities: FloatArray | None = None,
) -> UnitPredictions:
    """Return predictions from arrays [M, U] in the order of a data set's units; those that are None are missing.

    Without ``active`` a unit counts as active from a probability of `ACTIVE_FROM` on.
    """
    none = np.full((len(frames), units), np.nan)
    given = none if probabilities is None else probabilities
    if active is None:
        active = np.where(np.isnan(given), np.nan, given >= ACTIVE_FROM)
    levels = none if intensities is None else intensities
    return UnitPredictions(frames, active, given, levels, int(frames[0]), int(frames[-1]))


def file_of(folder: Path, key: str) -> Path:
    """Return the CSV file of a recording: KEY.csv, or the only one with the key in its name.

    Raises InputError where there is none, or several.
    """
    if (folder / f"{key}.csv").is_file():
        return folder / f"{key}.csv"
    named = sorted(path for path in folder.glob("*.csv") if key in path.stem)
    if len(named) == 1:
        return named[0]
    if named:
        raise InputError(f"{folder}: {', '.join(path.name for path in named[:5])} are all of {key}: name one {key}.csv")
    raise InputError(f"{folder}: no predictions of {key}: {key}.csv is expected, a row a frame")


def read_predictions(path: Path, units: Sequence[int]) -> UnitPredictions:
    """Read the predictions of ``units``; of several faces in a frame the one with the most rows in all counts.

    Raises InputError for a file without frames or without a column of any unit, for values out of their range, and for
    a frame that is there twice.
    """
    header = _header(path)
    columns = _columns(path, header, units)
    names = [name for name in (FRAME, FACE, SUCCESS, *columns.values()) if name in header]
    frames, faces, rows = _cells(path, names)
    kept = _one_face_a_frame(path, frames, faces)
    numbers = np.array(frames, np.int64)[kept]
    table = np.array(rows, np.float64).reshape(len(frames), -1)[kept]
    first = len(names) - len(columns)
    places = {key: names.index(name, first) - first for key, name in columns.items()}
    blocks = {kind: _block(table, places, units, kind) for kind in HIGHEST}
    active = np.where(np.isnan(blocks["p"]), np.nan, blocks["p"] >= ACTIVE_FROM)
    by_column = np.array([(unit, "c") in places for unit in units])
    active = np.where(by_column, blocks["c"], active)
    return UnitPredictions(
        numbers, active, blocks["p"], blocks["r"], min(frames), max(frames), len(frames) - faces.count(None) - len(kept)
    )


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return [cell.strip() for cell in next(csv.reader(lines, strict=True), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def _columns(path: Path, header: Sequence[str], units: Sequence[int]) -> dict[tuple[int, str], str]:
    """Map (unit, kind) to the name of its column."""
    matches = [(match, name) for name in header if (match := _COLUMN.fullmatch(name))]
    columns = {(int(match["unit"]), _kind(match)): name for match, name in matches}
    columns = {key: name for key, name in columns.items() if key[0] in units}
    if FRAME not in header or not columns:
        wanted = f"{FRAME}, and AU{units[0]:02d}_c, AU{units[0]:02d}_r or AU{units[0]:02d} of a unit"
        raise InputError(f"{path}: a header with {wanted} is expected, not {', '.join(header)[:80]!r}")
    return columns


def _cells(path: Path, names: Sequence[str]) -> tuple[list[int], list[str | None], list[list[float]]]:
    """Read each row's frame, face and numbers of units; the face is None where success is 0."""
    facts_of = [name for name in names if name in (FRAME, FACE, SUCCESS)]
    frames: list[int] = []
    faces: list[str | None] = []
    rows: list[list[float]] = []
    for number, cells in csv_rows(path, names):
        facts = dict(zip(facts_of, cells, strict=False))
        try:
            frames.append(whole_number(facts[FRAME]))
            there = float(facts.get(SUCCESS) or 1) > 0
            units = zip(cells[len(facts) :], names[len(facts) :], strict=True)
            rows.append([_value(cell, name) if there else np.nan for cell, name in units])
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        faces.append(facts.get(FACE, "") if there else None)
    if not frames:
        raise InputError(f"{path}: no frame in it")
    return frames, faces, rows


def _kind(match: re.Match[str]) -> str:
    """Return the kind of a column in OpenFace's letters, those of `HIGHEST`."""
    kind = match["kind"] or ""
    return KINDS.get(kind, kind)


def _value(cell: str, name: str) -> float:
    """Return the number of a cell, NaN for an empty one; raise ValueError outside the range of its column."""
    match = _COLUMN.fullmatch(name)
    if not match or not cell:
        return np.nan
    value, kind = float(cell), _kind(match)
    if np.isnan(value):
        return value
    if not 0 <= value <= HIGHEST[kind] or (kind == "c" and value not in (0, 1)):
        expected = "0 or 1" if kind == "c" else f"0 to {HIGHEST[kind]:g}"
        raise ValueError(f"{name} is {expected}, not {cell}")
    return value


def _one_face_a_frame(path: Path, frames: Sequence[int], faces: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the rows of faces, one a frame, in the order of the frames.

    A person who was lost comes back as another face, so that no single face is all there is of a video.
    """
    ranks = {face: rank for rank, (face, _) in enumerate(Counter(faces).most_common())}
    order = sorted(
        (frame, ranks[face], row)
        for row, (frame, face) in enumerate(zip(frames, faces, strict=True))
        if face is not None
    )
    for (frame, face, _), (other, same, _) in pairwise(order):
        if (frame, face) == (other, same):
            raise InputError(f"{path}: frame {frame} is there twice for one face")
    first = {frame: row for frame, _, row in reversed(order)}
    return np.array([first[frame] for frame in sorted(first)], np.int64)


def _block(table: FloatArray, places: Mapping[tuple[int, str], int], units: Sequence[int], kind: str) -> FloatArray:
    block = np.full((len(table), len(units)), np.nan)
    for column, unit in enumerate(units):
        if (unit, kind) in places:
            block[:, column] = table[:, places[unit, kind]]
    return block
