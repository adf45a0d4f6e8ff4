"""Rows of a data set's table, as the .xlsx file it comes in or as that sheet exported to CSV."""

from __future__ import annotations

import csv
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emo_edge.benchmarks.datasets.layout import unreadable
from emo_edge.errors import InputError
from emo_edge.utils.extras import missing_extra

HEADER_WITHIN = 40
"""Rows among which the header is looked for: SAMM explains itself in a dozen rows above it."""
MOST_ROWS = 100_000
LARGEST_SHEET = 256 << 20
"""Bytes of an unpacked .xlsx file."""
SUFFIXES = (".xlsx", ".csv")


def sheet_rows(path: Path, columns: Sequence[str], sheet: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Give row number and the cells of ``columns``, stripped, of each row below the header; empty rows apart.

    Args:
        path: .xlsx, read with openpyxl, or .csv.
        columns: names of the header, wherever it stands among the first rows.
        sheet: name of the sheet in an .xlsx file; None is the first one.

    Raises InputError for a file that cannot be read, a missing sheet and a missing column; MissingExtraError without
    openpyxl.
    """
    rows = _csv(path) if path.suffix.lower() == ".csv" else _xlsx(path, sheet)
    places: list[int] = []
    header: list[str] = []
    for number, row in enumerate(rows, 1):
        cells = [_text(cell) for cell in row]
        if number > MOST_ROWS:
            raise InputError(f"{path}: more than {MOST_ROWS} rows")
        if places:
            wanted = [cells[place] if place < len(cells) else "" for place in places]
            if any(wanted):
                yield number, wanted
        elif set(columns) <= set(cells):
            places = [cells.index(name) for name in columns]
        elif number <= HEADER_WITHIN:
            header = max(header, [cell for cell in cells if cell], key=len)
    if not places:
        absent = [name for name in columns if name not in header]
        raise InputError(
            f"{path}: no row has the columns {', '.join(columns)}; missing in {', '.join(header)[:120]!r}: "
            f"{', '.join(absent)}"
        )


def _text(cell: Any) -> str:
    """Return a cell as a CSV export has it: 12 for the number 12.0."""
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _csv(path: Path) -> Iterator[Sequence[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.reader(lines, strict=True)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def _xlsx(path: Path, sheet: str | None) -> Iterator[Sequence[Any]]:
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_SHEET:
            raise InputError(f"{path}: {size >> 20} MiB unpacked, more than {LARGEST_SHEET >> 20}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that it does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: no .xlsx file ({error}): copy it again, or export the sheet to CSV") from error
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise InputError(f"{path}: no sheet {sheet}; there are {', '.join(book.sheetnames)}")
        chosen = book.worksheets[0] if sheet is None else book[sheet]
        yield from chosen.iter_rows(values_only=True)
    finally:
        book.close()


def table_in(root: Path, stem: str, layout: str) -> Path:
    """Return the table of a data set: the first file that begins with ``stem``, .xlsx before .csv.

    Raises InputError that shows what was expected.
    """
    for suffix in SUFFIXES:
        files = sorted(root.glob(f"{stem}*{suffix}"))
        if files:
            return files[0]
    raise InputError(f"{root}: {stem}*.xlsx (or .csv) is missing. Expected:\n{layout}")


def home_of(root: Path, choices: Sequence[str], pattern: str, layout: str) -> Path:
    """Return the first of the folders ``choices`` that has a folder matching ``pattern``; raise InputError for none."""
    for choice in choices:
        if any(path.is_dir() for path in (root / choice).glob(pattern)):
            return root / choice
    raise InputError(f"{root}: no folder {pattern} in it, nor in {', '.join(choices[1:])}. Expected:\n{layout}")
