"""The files that an ONNX graph makes its loader open, read from the file without the ``onnx`` package.

ONNX Runtime, OpenVINO and TensorRT open every ``external_data`` location of a graph by themselves. A bundle lists these
files in its manifest, or it is refused. Field numbers are those of ``onnx.proto3``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from emo_edge.graphs.wire import BYTES, read_fields

DEEPEST = 64
"""Nesting of graphs in graphs; ours have none."""
SUBMESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Of each message, the fields that lead to a tensor or a node."""
OPERATOR = 4
CONTEXT_OPERATORS = frozenset({b"EPContext"})
"""Operators that make an execution provider load a compiled file of their own."""


def external_locations(path: Path) -> set[str]:
    """Return the ``location`` of every tensor that lies in another file, as the graph writes it.

    Raises ValueError for a file that is no well-formed ONNX message, and for an operator that loads a compiled file.
    """
    with path.open("rb") as stream:
        if path.stat().st_size == 0:
            raise ValueError("an empty file, no ONNX graph")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return set(_locations(content, 0, len(content), "model", 0))


def _locations(content: mmap.mmap, start: int, end: int, kind: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError(f"graphs nest deeper than {DEEPEST} levels")
    inner = SUBMESSAGES[kind]
    for number, first, last in _ranges(content, start, end):
        if kind == "node" and number == OPERATOR and content[first:last] in CONTEXT_OPERATORS:
            raise ValueError("a node of type EPContext, which loads a compiled file")
        if number not in inner:
            continue
        if inner[number] == "entry":
            pair = {field: content[a:b] for field, a, b in _ranges(content, first, last)}
            if pair.get(1) == b"location":
                yield pair.get(2, b"").decode("utf-8", "replace")
        else:
            yield from _locations(content, first, last, inner[number], depth + 1)


def _ranges(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each length-delimited field of a message."""
    return ((field.number, field.start, field.end) for field in read_fields(content, start, end) if field.wire == BYTES)
