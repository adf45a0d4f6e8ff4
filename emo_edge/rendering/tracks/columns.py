"""Columns of a table of faces: names, types, digits, and where their values come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from emo_edge.inference.rows import Value
from emo_edge.rendering.tracks.faces import TrackedFace, TrackedFrame

ColumnType = Literal["string", "integer", "number"]
TrackRow = list[Value]
"""Values in the order of the columns."""


@dataclass(frozen=True)
class FaceColumns:
    """Columns beside each other that are null in a frame without a face."""

    names: tuple[str, ...]
    kind: ColumnType
    values: Callable[[TrackedFace], Sequence[Value]]
    digits: int = 0
    """After the point of a number."""


@dataclass(frozen=True)
class FrameColumns:
    """Columns beside each other that every row has: of its frame, and of whether a face is found there."""

    names: tuple[str, ...]
    kind: ColumnType
    values: Callable[[TrackedFrame, bool], Sequence[Value]]
    digits: int = 0


Columns = Sequence[FrameColumns | FaceColumns]


def column_names(columns: Columns) -> list[str]:
    """Return the names in order."""
    return [name for block in columns for name in block.names]


def column_types(columns: Columns) -> list[ColumnType]:
    """Return the type of each column."""
    return [block.kind for block in columns for _ in block.names]


def column_digits(columns: Columns) -> list[int]:
    """Return the digits after the point of each column."""
    return [block.digits for block in columns for _ in block.names]


def track_row(columns: Columns, frame: TrackedFrame, face: TrackedFace | None) -> TrackRow:
    """Return the row of a face, or that of a frame without one; numbers are rounded to the digits of their column."""
    row: TrackRow = []
    for block in columns:
        if isinstance(block, FrameColumns):
            values = block.values(frame, face is not None)
        else:
            values = [None] * len(block.names) if face is None else block.values(face)
        row += _rounded(values, block.digits) if block.kind == "number" else values
    return row


def _rounded(values: Iterable[Value], digits: int) -> list[Value]:
    # Adding 0.0 turns -0.0, which a small negative number is rounded to, into 0.0.
    return [round(value, digits) + 0.0 if isinstance(value, float) else value for value in values]
