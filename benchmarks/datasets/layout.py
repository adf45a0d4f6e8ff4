"""Read the text lists of a data set and find its folders, with errors that show what was expected."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from emo_edge.errors import InputError

Parsed = TypeVar("Parsed")
LARGEST_NUMBER = 1e15
"""Below it every whole number has a float of its own."""


def list_lines(path: Path, parse: Callable[[str], Parsed]) -> Iterator[Parsed]:
    """Parse the lines of a text list, blank ones apart; a ValueError of ``parse`` says what a line should be.

    Raises InputError for a line that ``parse`` refuses and for a list that cannot be read as UTF-8.
    """
    for number, line in _numbered(path):
        if line.strip():
            yield _parsed(path, number, parse, line.strip())


def csv_rows(path: Path, columns: Sequence[str], *, headless: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Give line number and the cells of ``columns``, stripped, of each row of a CSV file, blank rows apart.

    ``headless`` takes a file without a header, too: its cells are ``columns``, in this order. Raises InputError for
    another header, a row that is too short, and a file that cannot be read.
    """
    reader = csv.reader((line for _, line in _numbered(path)), strict=True)
    try:
        first = [cell.strip() for cell in next(reader, [])]
        if set(columns) <= set(first):
            indices = [first.index(name) for name in columns]
        elif headless and len(first) >= len(columns):
            indices = list(range(len(columns)))
            yield 1, first[: len(columns)]
        else:
            raise InputError(f"{path}: a header with {', '.join(columns)} is expected, not {', '.join(first)[:80]!r}")
        for row in reader:
            if any(row):
                if len(row) <= max(indices):
                    raise InputError(f"{path}, line {reader.line_num}: {len(row)} cells; {', '.join(columns)} expected")
                yield reader.line_num, [row[index].strip() for index in indices]
    except csv.Error as error:
        raise unreadable(path, error) from error


def _parsed(path: Path, number: int, parse: Callable[[str], Parsed], line: str) -> Parsed:
    """Return what ``parse`` makes of a line; raise its ValueError as an InputError that names the line."""
    try:
        return parse(line)
    except ValueError as error:
        raise InputError(f"{path}, line {number}: {error}, not {line[:80]!r}") from error


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from enumerate(lines, 1)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error for a list that does not open or is no text."""
    return InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}): copy it again")


def whole_number(text: str) -> int:
    """Return the number of a cell such as "12" or "12.0"; raise ValueError for another one, and one beyond 1e15."""
    number = float(text)
    if not number.is_integer() or abs(number) > LARGEST_NUMBER:
        raise ValueError(f"a whole number is expected, not {text[:40]!r}")
    return int(number)


def inside(name: str) -> str:
    """Return a path of a list in its shortest form, with "/"; raise ValueError if it leaves the data set's folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name or not path.parts:
        raise ValueError("a path stays inside the data set's folder")
    return path.as_posix()


def first_there(root: Path, choices: Sequence[str], layout: str) -> Path:
    """Return the first of ``choices`` below ``root`` that exists; raise InputError that shows what was expected."""
    for choice in choices:
        if (root / choice).exists():
            return root / choice
    raise InputError(f"{root}: {' or '.join(choices)} is missing. Expected:\n{layout}\nFound: {_listing(root)}")


def _listing(root: Path) -> str:
    try:
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return f"not listed ({error.strerror})"
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "nothing"
