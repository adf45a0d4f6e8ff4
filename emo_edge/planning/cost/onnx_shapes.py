"""The shape of every value of an ONNX graph, for given sizes of its varying axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emo_edge.errors import CheckpointError, InputError

FOLDED_VALUES = 64
"""Numbers in a constant that is computed here: what is larger is no arithmetic on shapes."""
_FLOAT32, _INT32, _INT64, _FLOAT16 = 1, 6, 7, 10
"""ONNX's ``TensorProto.DataType`` of arithmetic on shapes: a padding that follows from a size is a float on the way."""
_HEAVY = frozenset({"Conv", "DequantizeLinear", "Gemm", "MatMul"})
"""Not computed here: weights, and what is stored in INT8 and counts so."""


def sized_graph(model: Any, sizes: Mapping[str, int], name: str) -> Any:
    """Copy an ``onnx.ModelProto`` with a number for every axis, shapes inferred and their arithmetic computed.

    Raises InputError for an axis without a size, CheckpointError for shapes that contradict each other.
    """
    import onnx

    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    graph = sized.graph
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in sizes:
                axis.dim_value = sizes[axis.dim_param]
    _require_sizes(graph, name)
    try:
        return _folded(onnx.shape_inference.infer_shapes(sized, data_prop=True))
    except Exception as error:  # the inference names its failures in several classes
        raise CheckpointError(f"{name}: its shapes cannot be inferred: {error}") from error


def shapes_of(graph: Any) -> dict[str, tuple[int, ...] | None]:
    """Return shapes by name, constants included; None where an axis is open."""
    shapes: dict[str, tuple[int, ...] | None] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            closed = all(axis.HasField("dim_value") for axis in kind.shape.dim)
            shapes[value.name] = tuple(axis.dim_value for axis in kind.shape.dim) if closed else None
    return shapes


def _require_sizes(graph: Any, name: str) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    fed = [value.type.tensor_type.shape.dim for value in graph.input if value.name not in constants]
    open_axes = {axis.dim_param for axes in fed for axis in axes if not axis.HasField("dim_value")}
    if open_axes:
        raise InputError(f"{name}: give a size for the axes {', '.join(map(repr, sorted(open_axes)))}")


def _folded(model: Any) -> Any:
    """Compute what the inference leaves open of the arithmetic on shapes, until no new shape follows."""
    import onnx

    while True:
        known = {part.name: part for part in model.graph.initializer if math.prod(part.dims) <= FOLDED_VALUES}
        shapes, kept = shapes_of(model.graph), []
        for node in model.graph.node:
            value = _value(node, known, shapes, model)
            if value is None:
                kept.append(node.SerializeToString())
            else:
                known[value.name] = value
                model.graph.initializer.append(value)
        if len(kept) == len(model.graph.node):
            return model
        model.graph.ClearField("node")
        model.graph.node.extend(onnx.NodeProto.FromString(content) for content in kept)
        model.graph.ClearField("value_info")
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)


def _value(node: Any, known: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...] | None], model: Any) -> Any:
    """Compute a node of few known numbers; None for any other."""
    import numpy as np
    from onnx import numpy_helper

    if node.op_type == "Shape" and (shape := shapes.get(node.input[0])) is not None:
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        value = np.array(shape[flags.get("start", 0) : flags.get("end", len(shape))], np.int64)
    elif _foldable(node, known):
        value = _computed(node, [numpy_helper.to_array(known[read]) for read in node.input if read], model)
    else:
        return None
    return numpy_helper.from_array(np.asarray(value), node.output[0])


def _foldable(node: Any, known: Mapping[str, Any]) -> bool:
    plain = len(node.output) == 1 and len(node.input) > 0 and node.op_type not in _HEAVY
    numbers = (_FLOAT32, _INT32, _INT64, _FLOAT16)
    whole = all(not read or (read in known and known[read].data_type in numbers) for read in node.input)
    return plain and whole and not any(attribute.HasField("g") for attribute in node.attribute)


def _computed(node: Any, values: list[Any], model: Any) -> Any:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [read for read in node.input if read]
    inputs = [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)]
    outputs = [helper.make_empty_tensor_value_info(node.output[0])]
    graph = helper.make_graph([node], "folded", inputs, outputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return ReferenceEvaluator(alone).run(None, dict(zip(names, values, strict=True)))[0]
