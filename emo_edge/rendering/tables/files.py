"""Tables as files: Parquet and CSV, written row by row, and CSV read back into typed values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from emo_edge.errors import InputError
from emo_edge.inference.rows import Value
from emo_edge.rendering.result_writers import cell, plain_text
from emo_edge.rendering.tables.rows import TableRow, TableSetup
from emo_edge.rendering.tables.schema import TABLE_VERSION, ColumnType, column_type
from emo_edge.utils.extras import failed_import

SUFFIXES = (".parquet", ".csv")
GROUP_ROWS = 10_000
"""Of a row group: what is held in memory until it is written."""


class TableWriter(Protocol):
    """An open table."""

    def write(self, rows: Iterable[TableRow]) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write the rest; the file is whole from then on."""


class CsvTable:
    """CSV: UTF-8, a line end after each row, empty cells for null; `csv_rows` reads it back."""

    def __init__(self, path: Path, setup: TableSetup) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self.write([setup.columns])

    def write(self, rows: Iterable[TableRow]) -> None:
        """Add rows."""
        self._file.writelines(map(csv_line, rows))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetTable:
    """Parquet: the columns of the schema, the settings of all rows in the file's metadata."""

    def __init__(self, path: Path, setup: TableSetup) -> None:
        self._schema = arrow_schema(setup)
        self._rows: list[TableRow] = []
        # Arrow takes a relative "a:b.parquet" for an address.
        self._file: Any = open_parquet().ParquetWriter(path.absolute(), self._schema, compression="zstd")

    def write(self, rows: Iterable[TableRow]) -> None:
        """Add rows; a full group is written."""
        self._rows.extend(rows)
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the rest and the end of the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(arrow_table(self._schema, self._rows))
            self._rows.clear()


def check_table(path: Path) -> None:
    """Raise InputError for a name of neither format, MissingExtraError where Parquet cannot be written here."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a table ends in {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        open_parquet()


def open_table(path: Path, setup: TableSetup, *, suffix: str) -> TableWriter:
    """Open a table of the format that ``suffix`` names at ``path``."""
    return CsvTable(path, setup) if suffix.lower() == ".csv" else ParquetTable(path, setup)


def csv_line(values: Iterable[Value]) -> str:
    """Return one line of CSV with its end."""
    text = io.StringIO()
    # Both characters of a line end, so that text that holds either is quoted.
    csv.writer(text, lineterminator="\r\n").writerow([cell(value) for value in values])
    return f"{text.getvalue()[:-2]}\n"


def csv_rows(path: str | Path) -> Iterator[dict[str, Value]]:
    """Read a table back from CSV with the values, and the types, that Parquet has.

    Raises InputError for a file that is no such table.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                yield {name: _value(column_type(name), text) for name, text in row.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: no table of emo-edge ({error})") from error


def _value(kind: ColumnType, text: str) -> Value:
    if text == "":
        return None
    return plain_text(text) if kind == "string" else int(text) if kind == "integer" else float(text)


def open_parquet() -> Any:
    """Return ``pyarrow.parquet``; raise MissingExtraError with the install command without it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise failed_import(error) from error
    return pyarrow.parquet


def arrow_schema(setup: TableSetup) -> Any:
    """Return the schema of a Parquet file: types of the columns, and as metadata the version and the settings."""
    import pyarrow

    types = {"string": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
    fields = [(name, types[column_type(name)]) for name in setup.columns]
    settings = json.dumps(setup.settings, allow_nan=False)
    return pyarrow.schema(fields, {"emo_edge.table_version": str(TABLE_VERSION), "emo_edge.settings": settings})


def arrow_table(schema: Any, rows: list[TableRow]) -> Any:
    """Return rows as an Arrow table."""
    import pyarrow

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pyarrow.array(values, one.type) for values, one in zip(columns, schema, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)
