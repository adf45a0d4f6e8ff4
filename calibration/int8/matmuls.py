"""The matmuls of a graph that INT8 can compute, and the block of the network each belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onnx import GraphProto, NodeProto, TensorProto

WEIGHT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16)
_BLOCK = re.compile(r"(?:\d+\.)*(.*?[^.\d][^.]*(?:\.\d+)+)\.")
_MODULE = re.compile(r"(?:\d+\.)*(.+)\.[^.]+")


@dataclass(frozen=True)
class Matmul:
    """A Conv, Gemm or MatMul of an activation and a constant weight."""

    node: str
    """Its name, or its output's if it has none."""
    output: str
    activation: str
    weight: str
    axis: int
    """Of the weight's output channels."""
    size: int
    """Numbers in the weight."""


def matmuls(graph: GraphProto) -> list[Matmul]:
    """Return the matmuls of ``graph`` with a constant weight, which excludes attention's own."""
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type in WEIGHT_TYPES}
    return [
        Matmul(
            node.name or node.output[0],
            node.output[0],
            node.input[0],
            node.input[1],
            axis,
            _size(constants[node.input[1]]),
        )
        for node in graph.node
        if (axis := _channel_axis(node, constants)) is not None
    ]


def blocks(graph: GraphProto) -> dict[str, tuple[str, ...]]:
    """Group the matmuls' nodes by block, in the order of computation.

    A block is named by its parameters' path up to the first number: ``blocks.3``, ``face.backbone.0.1.0``. A matmul
    whose own weight has lost its name, as a transposed one has, belongs where the bias added to it does, else where
    the last parameter read before it does.
    """
    grouped: dict[str, list[str]] = {}
    nodes = {matmul.output: matmul.node for matmul in matmuls(graph)}
    names = {tensor.name for tensor in graph.initializer}
    biases = {read: node for node in graph.node if node.op_type == "Add" for read in node.input}
    current = "start"
    for node in graph.node:
        after = [biases[node.output[0]]] if node.output[0] in biases else []
        own = [block for part in (node, *after) for block in _named_blocks(part, names)]
        if node.output[0] in nodes:
            grouped.setdefault(own[0] if own else current, []).append(nodes[node.output[0]])
        current = next(_named_blocks(node, names), current)
    return {name: tuple(members) for name, members in grouped.items()}


def residual_sums(graph: GraphProto) -> list[str]:
    """Name the sums of two activations: the residual stream."""
    constants = {tensor.name for tensor in graph.initializer}
    return [node.output[0] for node in graph.node if node.op_type == "Add" and not constants.intersection(node.input)]


def block_of(parameter: str) -> str | None:
    """Return the block of a parameter by its path; None where the exporter made the name up."""
    match = _BLOCK.match(parameter) or _MODULE.match(parameter)
    return match[1] if match else None


def _named_blocks(node: NodeProto, constants: set[str]) -> Iterator[str]:
    return (block for name in node.input if name in constants and (block := block_of(name)))


def _size(weight: TensorProto) -> int:
    size = 1
    for extent in weight.dims:
        size *= extent
    return size


def _channel_axis(node: NodeProto, constants: dict[str, TensorProto]) -> int | None:
    if len(node.input) < 2 or node.input[0] in constants or node.input[1] not in constants:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        return None if flags.get("transA") else 1 - flags.get("transB", 0)
    return 1 if node.op_type == "MatMul" and len(constants[node.input[1]].dims) == 2 else None
