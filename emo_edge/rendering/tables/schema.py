"""Columns of a table and their types, from the published schema ``emo_edge/schemas/table-1.json``."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import emo_edge

TABLE_VERSION = 1
"""Of the schema; a column is added under the same version, and removed or changed under a new one."""
ColumnType = Literal["string", "integer", "number"]


@cache
def table_schema() -> dict[str, Any]:
    """Return the JSON Schema of a row."""
    path = Path(emo_edge.__file__).parent / "schemas" / f"table-{TABLE_VERSION}.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


@cache
def column_type(name: str) -> ColumnType:
    """Return the type of a column's values, any of which may be null; raise KeyError for a name the schema lacks."""
    schema = table_schema()
    if name in schema["properties"]:
        return _value_type(schema["properties"][name])
    for pattern, column in schema["patternProperties"].items():
        if re.search(pattern, name):
            return _value_type(column)
    raise KeyError(name)


def _value_type(column: dict[str, Any]) -> ColumnType:
    named: Any = column["type"]
    kind: ColumnType = named[0] if isinstance(named, list) else named
    return kind
