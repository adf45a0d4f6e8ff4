"""Count the operations and bytes of an ONNX graph, for given sizes of its varying axes.

Values that are known before the graph runs count nothing: constants, arithmetic on them and on shapes. Views count as
nodes that move no byte. No fusion is assumed: ONNX Runtime's CPU leaves even the bias of most matmuls a separate node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.graphs.bounds import MATMULS
from emo_edge.graphs.model import BITS
from emo_edge.planning.cost.onnx_shapes import shapes_of, sized_graph
from emo_edge.planning.cost.work import Kind, Node, Precision, Work
from emo_edge.utils.extras import failed_import

IDLE = frozenset({"Constant", "DequantizeLinear", "Identity", "Shape"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
FUNCTIONS = frozenset({"Cos", "Erf", "Exp", "Gelu", "LayerNormalization", "Sigmoid", "Sin", "Softmax", "Tanh"})
INTEGERS = frozenset({6, 7, 12, 13})
HALVES = frozenset({10, 16})


@dataclass(frozen=True)
class Value:
    """One value of a graph; ``settled`` is known before the graph runs, ``bytes`` as it is stored."""

    shape: tuple[int, ...]
    kind: int
    bytes: float
    settled: bool


def graph_work(path: Path, sizes: Mapping[str, int]) -> Work:
    """Count a graph's work; weights in other files are not read.

    Args:
        path: the ONNX file.
        sizes: size of each axis that varies, by its name in the file: ``{"N": 1, "L": 20}``.

    Raises CheckpointError for what is no ONNX graph or has nodes of unknown shape, InputError for an axis without a
    size, MissingExtraError without the ``onnx`` package.
    """
    try:
        import onnx
    except ImportError as error:
        raise failed_import(error) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own classes, or the system's
        raise CheckpointError(f"{path}: no ONNX graph: {error}") from error
    return model_work(model, sizes, str(path))


def model_work(model: Any, sizes: Mapping[str, int], name: str = "graph") -> Work:
    """Count the work of an ``onnx.ModelProto``, which is left as it is; see `graph_work`."""
    graph = sized_graph(model, sizes, name).graph
    values = _values(graph, name)
    quantized = {output for node in graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    counted = (_counted(node, values, quantized) for node in graph.node)
    return Work(tuple(node for node in counted if node is not None))


def matmul_flops(node: Any, reads: Sequence[tuple[int, ...]], made: tuple[int, ...]) -> float:
    """Count two operations a multiplication of a Conv, Gemm or MatMul from the shapes it reads and makes."""
    if node.op_type == "Conv":
        return 2.0 * math.prod(made) * math.prod(reads[1][1:])
    transposed = node.op_type == "Gemm" and any(flag.name == "transA" and flag.i for flag in node.attribute)
    return 2.0 * math.prod(made) * reads[0][0 if transposed else -1]


def _values(graph: Any, name: str) -> dict[str, Value]:
    """Describe every value; what is computed from constants alone is settled, and as large as what is stored of it."""
    kinds = {part.name: part.data_type for part in graph.initializer}
    kinds |= {part.name: part.type.tensor_type.elem_type for part in (*graph.value_info, *graph.input, *graph.output)}
    shapes = shapes_of(graph)
    settled = {part.name for part in graph.initializer}
    stored: dict[str, float] = {}
    for node in graph.node:
        if node.input and all(not read or read in settled for read in node.input):
            settled.update(node.output)
            if node.op_type == "DequantizeLinear":
                stored[node.output[0]] = _bytes(shapes.get(node.input[0]) or (), kinds[node.input[0]])
    unknown = [output for node in graph.node for output in node.output if output and shapes.get(output) is None]
    if unknown:
        more = f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise CheckpointError(f"{name}: the shape of {unknown[0]} is unknown{more}; export the graph again")
    return {
        value: Value(shape, kinds[value], stored.get(value, _bytes(shape, kinds[value])), value in settled)
        for value, shape in shapes.items()
        if shape is not None
    }


def _bytes(shape: tuple[int, ...], kind: int) -> float:
    return math.prod(shape) * BITS.get(kind, 32) / 8


def _counted(node: Any, values: Mapping[str, Value], quantized: set[str]) -> Node | None:
    """Describe one node; None for one that costs nothing."""
    outputs = [values[output] for output in node.output if output]
    reads = [values[read] for read in node.input if read in values]
    if node.op_type in IDLE or outputs[0].settled or all(out.kind in INTEGERS for out in outputs):
        return None
    if node.op_type in VIEWS:
        return Node("view")
    moved = sum(value.bytes for value in (*reads, *outputs) if not value.settled)
    if node.op_type not in MATMULS:
        kind: Kind = "cast" if node.op_type == "Cast" else "function" if node.op_type in FUNCTIONS else "move"
        return Node(kind, 0.0, 0.0, moved)
    flops = matmul_flops(node, [value.shape for value in reads], outputs[0].shape)
    weights = sum(value.bytes for value in reads if value.settled)
    whole = any(value.settled for value in reads[:2])
    precision: Precision = "fp16" if outputs[0].kind in HALVES else "fp32"
    if set(node.input[:2]) <= quantized:
        precision = "int8"
    return Node("matmul" if whole else "attention", flops, weights, moved, 1, precision)
