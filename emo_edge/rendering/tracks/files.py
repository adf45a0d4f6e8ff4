"""Tables of faces as CSV and Parquet, written row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from emo_edge.inference.rows import Value
from emo_edge.rendering.result_writers import cell
from emo_edge.rendering.tables.files import open_parquet
from emo_edge.rendering.tracks.columns import Columns, TrackRow, column_digits, column_names, column_types

TRACK_VERSION = 1
"""Of ``emo_edge/schemas/track-1.json``."""
GROUP_ROWS = 5_000
"""Of a row group of Parquet: what is held in memory until it is written."""


class TrackFile(Protocol):
    """An open table."""

    def write(self, rows: Iterable[TrackRow]) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write the rest; the file is whole from then on."""


class CsvTrack:
    """CSV: UTF-8, a comma and no space, fixed digits, empty cells for null."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(column_names(columns))
        self._formats = [f"%.{digits}f" for digits in column_digits(columns)]

    def write(self, rows: Iterable[TrackRow]) -> None:
        """Add rows."""
        for row in rows:
            self._writer.writerow(map(_text, row, self._formats))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetTrack:
    """Parquet: the same columns with their types; what made them is in the file's metadata."""

    def __init__(self, path: Path, columns: Columns, settings: Mapping[str, Any]) -> None:
        import pyarrow

        types = {"string": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
        fields = [(name, types[kind]) for name, kind in zip(column_names(columns), column_types(columns), strict=True)]
        metadata = {
            "emo_edge.track_version": str(TRACK_VERSION),
            "emo_edge.settings": json.dumps(settings, allow_nan=False),
        }
        self._schema, self._rows = pyarrow.schema(fields, metadata), list[TrackRow]()
        # Python opens it: a name may be any bytes.
        self._file: IO[bytes] = path.open("wb")
        self._table: Any = open_parquet().ParquetWriter(self._file, self._schema, compression="zstd")

    def write(self, rows: Iterable[TrackRow]) -> None:
        """Add rows; a full group is written."""
        for row in rows:
            self._rows.append(row)
            if len(self._rows) == GROUP_ROWS:
                self._flush()

    def close(self) -> None:
        """Write the rest and the end of the file."""
        try:
            self._flush()
            self._table.close()
        finally:
            self._file.close()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            arrays = [
                pyarrow.array(values, one.type)
                for values, one in zip(zip(*self._rows, strict=True), self._schema, strict=True)
            ]
            self._table.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()


def open_track(path: Path, columns: Columns, settings: Mapping[str, Any], *, parquet: bool) -> TrackFile:
    """Open a table at ``path``; ``settings`` are JSON values that Parquet keeps."""
    return ParquetTrack(path, columns, settings) if parquet else CsvTrack(path, columns)


def _text(value: Value, number: str) -> Value:
    if isinstance(value, float):
        return number % value
    return cell(value)
