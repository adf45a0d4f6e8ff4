"""The formats of a table of faces, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emo_edge.rendering.tracks import libreface, openface, own, py_feat
from emo_edge.rendering.tracks.columns import Columns
from emo_edge.rendering.tracks.faces import FaceContents

FORMATS: Mapping[str, Callable[[FaceContents], Columns]] = {
    "openface": openface.columns,
    "py-feat": py_feat.columns,
    "libreface": libreface.columns,
    "emo-edge": own.columns,
}
"""From what a network gives to the columns."""


def format_columns(name: str, contents: FaceContents) -> Columns:
    """Return the columns of a format of `FORMATS`, without blocks that have none."""
    return [block for block in FORMATS[name](contents) if block.names]
