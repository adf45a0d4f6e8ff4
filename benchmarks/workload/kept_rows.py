"""Rows of a finished benchmark as Parquet: what a report leaves out, in files that any tool of tables reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emo_edge.rendering.tables.files import open_parquet
from emo_edge.utils.files import replaced_file

GROUP_ROWS = 10_000
"""Of a row group: what is held in memory."""


def parquet_from_rows(source: Path, target: Path, *, boxes: bool) -> None:
    """Write a file of the journal as Parquet; of two rows of one key the later.

    Args:
        source: lines of JSON.
        target: is replaced.
        boxes: True for the rows of prepared samples, False for predictions.
    """
    schema = _schema(boxes)
    with replaced_file(target) as partial, open_parquet().ParquetWriter(partial.absolute(), schema) as file:
        for group in _groups(source):
            file.write_table(_table(schema, group))


def _schema(boxes: bool) -> Any:
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    numbers, both = pyarrow.list_(number), [("key", text), ("sha256", text)]
    if boxes:
        return pyarrow.schema([*both, ("boxes", pyarrow.list_(numbers)), ("found", pyarrow.bool_()), ("reason", text)])
    maps = {"values": number, "groups": text, "ms": number}
    own = [("truth", pyarrow.int64()), ("scores", numbers), ("answer", text)]
    return pyarrow.schema([*both, *own, *((name, pyarrow.map_(text, kind)) for name, kind in maps.items())])


def _groups(source: Path) -> Iterator[list[dict[str, Any]]]:
    last = {key: number for number, key in enumerate(row["key"] for row in _rows(source))}
    group = list[dict[str, Any]]()
    for number, row in enumerate(_rows(source)):
        if last[row["key"]] == number:
            group.append(row)
        if len(group) == GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    with source.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _table(schema: Any, rows: list[dict[str, Any]]) -> Any:
    import pyarrow

    columns = [[row.get(one.name) for row in rows] for one in schema]
    pairs = [[list(value.items()) if isinstance(value, dict) else value for value in column] for column in columns]
    arrays = [pyarrow.array(values, one.type) for values, one in zip(pairs, schema, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)
