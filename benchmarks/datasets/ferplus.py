"""FER+: the pictures of FER2013 with ten votes each, by the majority rule of the official evaluation.

Source: Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution" (ICMI 2016), https://github.com/microsoft/FERPlus: ``fer2013new.csv``, the folders and ``label.csv`` that
``src/generate_training_data.py`` writes, and the majority in ``src/ferplus.py``. The pictures themselves are those of
``fer2013.csv`` (emotion, pixels, Usage), whose rows stand in the same order.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.benchmarks.datasets.items import Dataset, Frame, Media, Pictures
from emo_edge.benchmarks.datasets.layout import csv_rows, first_there, inside, unreadable
from emo_edge.benchmarks.datasets.listing import Entry, Listing, Request, Tally, collected
from emo_edge.errors import InputError
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["ferplus8"]
COLUMNS = ("Usage", "Image name", *LABELS, "unknown", "NF")
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
FOLDERS = {"train": "FER2013Train", "val": "FER2013Valid", "test": "FER2013Test"}
SIDE = 48
LAYOUT = """  fer2013new.csv, and the pictures as
  FER2013Test/fer0032220.png        (likewise FER2013Valid, FER2013Train; or below data/)
or
  fer2013.csv"""


def ferplus(request: Request) -> Dataset:
    """Open the eight expressions; pictures without a majority, or whose majority sees no face, are left out."""
    request.no_folds()
    folder, usage = request.split_of(FOLDERS), request.split_of(USAGES)
    root, tally = request.folder(), Tally()
    # Pixels come first: a clone of the official repository has the folders, but nothing in them besides label.csv.
    choices = ("fer2013.csv",) if (root / "fer2013new.csv").is_file() else ()
    home = first_there(root, (*choices, folder, f"data/{folder}"), LAYOUT)
    if home.is_file():
        path = root / "fer2013new.csv"
        entries, media = _in_pixels(path, home, usage, tally)
    else:
        path = first_there(root, ("fer2013new.csv", f"{folder}/label.csv", f"data/{folder}/label.csv"), LAYOUT)
        rows = _votes(path) if path.name == "label.csv" else _named_votes(path, usage, tally)
        entries, media = [_entry(path, *row) for row in rows], Pictures(home)
    kept = [entry for entry in entries if _has_majority(entry, tally)]
    source = f"FER+, {request.split}, majority: {path.relative_to(root)}, {home.relative_to(root)}"
    return collected(request, Listing(kept, media, LABELS, source=source, cut=True, tally=tally))


def majority(votes: Sequence[int]) -> str:
    """Return the label with more than half of the votes, among them "unknown" and "NF" (no face).

    Single votes count as mistakes and are dropped first; without a majority it is unknown (`src/ferplus.py`).
    """
    counted = [vote if vote > 1 else 0 for vote in votes]
    most = max(counted)
    return COLUMNS[2 + counted.index(most)] if 2 * most > sum(counted) else "unknown"


def _has_majority(entry: Entry, tally: Tally) -> bool:
    if entry.label in LABELS:
        return True
    tally.add("whose votes see no face" if entry.label == "NF" else "without a majority, or unknown", entry.key)
    return False


def _named_votes(path: Path, usage: str, tally: Tally) -> Iterator[tuple[int, str, list[str]]]:
    for number, (used, name, *votes) in csv_rows(path, COLUMNS):
        if used == usage and name:
            yield number, name, votes
        elif used == usage:
            tally.add("rows without a picture, as in the official list", f"line {number}")


def _votes(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Read name and votes; the published label.csv has a box in between, the generated one has none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            for row in filter(None, reader):
                yield reader.line_num, row[0].strip(), row[1:] if len(row) == len(COLUMNS) - 1 else row[2:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def _entry(path: Path, number: int, name: str, votes: Sequence[str], location: str | None = None) -> Entry:
    try:
        counts = [int(vote) for vote in votes]
        if len(counts) != len(COLUMNS) - 2 or min(counts) < 0:
            raise ValueError("ten counts of votes are expected")
        return Entry(inside(name), location or inside(name), majority(counts))
    except ValueError as error:
        raise InputError(f"{path}, line {number}: {error}, not {name!r}, {', '.join(votes)!r}") from error


def _in_pixels(path: Path, pixels: Path, usage: str, tally: Tally) -> tuple[list[Entry], Media]:
    """Pair the votes with the rows of fer2013.csv by their order; raise InputError where the two differ."""
    used, offsets = _rows(pixels)
    rows = [(number, *cells) for number, cells in csv_rows(path, COLUMNS)]
    if [row[1] for row in rows] != used:
        raise InputError(f"{path} and {pixels.name} differ in rows or Usage: take both as they were published")
    starts = {row[0]: str(offset) for row, offset in zip(rows, offsets, strict=True)}
    named = _named_votes(path, usage, tally)
    entries = [_entry(path, number, name, votes, starts[number]) for number, name, votes in named]
    return entries, PixelRows(pixels)


def _rows(path: Path) -> tuple[list[str], list[int]]:
    """Return Usage and byte offset of each row, so that a picture is read without those before it."""
    used, offsets = [], []
    try:
        with path.open("rb") as stream:
            header = stream.readline().decode("utf-8-sig").split(",")
            if [cell.strip() for cell in header] != ["emotion", "pixels", "Usage"]:
                raise InputError(f"{path}: a header emotion,pixels,Usage is expected")
            offset = stream.tell()
            for line in stream:
                if line.strip():
                    used.append(line.rpartition(b",")[2].strip().decode())
                    offsets.append(offset)
                offset += len(line)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    return used, offsets


@dataclass(frozen=True)
class PixelRows:
    """Pictures of 48 x 48 grey values in the rows of fer2013.csv; a location is the byte offset of a row."""

    path: Path

    def exists(self, location: str) -> bool:
        """Return True: the row was there when the file was listed."""
        return True

    def frames(self, location: str, count: int) -> list[Frame]:
        """Read the row; raise InputError if it is no picture."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(int(location))
                values = stream.readline().split(b",")[1].replace(b'"', b"").split()
            grey = np.array([int(value) for value in values], np.uint8).reshape(SIDE, SIDE)
        except (OSError, ValueError, IndexError, OverflowError) as error:
            raise InputError(f"{self.path}, byte {location}: no picture of {SIDE} x {SIDE} grey values") from error
        return [Frame(np.repeat(grey[..., None], 3, axis=2), None)]
