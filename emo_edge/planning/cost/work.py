"""Operations and bytes of a stage, node by node, independent of any device's speed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
Kind = Literal["matmul", "attention", "function", "move", "cast", "view"]
"""A matmul with weights, a matmul of two activations, a function of each value or row, a copy or sum, a change of
type, a new shape."""
KINDS: tuple[Kind, ...] = ("matmul", "attention", "function", "move", "cast")
"""Kinds that take time on every device."""

FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Node:
    """One operation that an engine starts, or ``count`` equal ones."""

    kind: Kind
    flops: float = 0.0
    """Of matmuls alone: two a multiplication with its sum."""
    weight_bytes: float = 0.0
    activation_bytes: float = 0.0
    """Read and written."""
    count: int = 1
    precision: Precision = "fp32"
    """Of a matmul's operands."""

    @property
    def bytes(self) -> float:
        """Bytes that one of them reads and writes."""
        return self.weight_bytes + self.activation_bytes


@dataclass(frozen=True)
class Work:
    """All nodes of one stage, in any order."""

    nodes: tuple[Node, ...]

    @property
    def flops(self) -> float:
        """Floating-point operations of all matmuls."""
        return sum(node.count * node.flops for node in self.nodes)

    @property
    def weight_bytes(self) -> float:
        """Weights, each read once."""
        return sum(node.count * node.weight_bytes for node in self.nodes)

    @property
    def activation_bytes(self) -> float:
        """Activations that all nodes read and write."""
        return sum(node.count * node.activation_bytes for node in self.nodes)

    @property
    def largest_activation(self) -> float:
        """Bytes that the largest node reads and writes at once."""
        return max((node.activation_bytes for node in self.nodes), default=0.0)

    def in_precision(self, precision: Precision) -> Work:
        """Return float32 work as a graph of that precision does it: weights in its size, activations in half's."""
        if precision == "fp32":
            return self
        weight, activation = {"fp16": (0.5, 0.5), "int8": (0.25, 1.0)}[precision]
        return Work(
            tuple(
                replace(
                    node,
                    weight_bytes=weight * node.weight_bytes,
                    activation_bytes=activation * node.activation_bytes,
                    precision=precision if node.kind == "matmul" or precision == "fp16" else node.precision,
                )
                for node in self.nodes
            )
        )

    def widened(self) -> Work:
        """Return float16 work as an engine without such arithmetic does it: in float32, and what would cast is gone."""
        if not any(node.precision == "fp16" for node in self.nodes):
            return self
        kept = (node for node in self.nodes if node.kind != "cast")
        return Work(tuple(replace(node, activation_bytes=2 * node.activation_bytes) for node in kept))


def joined(parts: Iterable[Work]) -> Work:
    """Return the work of all parts together."""
    return Work(tuple(node for part in parts for node in part.nodes))


def linear(rows: float, read: int, written: int, *, count: int = 1) -> Node:
    """Describe a weight [read, written] on activations [rows, read], float32 both."""
    return Node("matmul", 2.0 * rows * read * written, FLOAT * read * written, FLOAT * rows * (read + written), count)


def attention(queries: float, keys: float, width: int, heads: int, *, count: int = 1) -> list[Node]:
    """Describe scores, softmax and mixture of [queries, width] with [keys, width]; ``queries`` counts the batch too."""
    scores = FLOAT * heads * queries * keys
    product = Node("attention", 2.0 * queries * keys * width, 0.0, scores + FLOAT * width * (queries + keys), 2 * count)
    return [product, Node("function", 0.0, 0.0, 2 * scores, count)]


def function(values: float, *, count: int = 1) -> Node:
    """Describe a norm, a softmax or an activation function over ``values`` float32 numbers."""
    return Node("function", 0.0, 0.0, 2.0 * FLOAT * values, count)


def move(values: float, *, count: int = 1) -> Node:
    """Describe a copy, a transposition or a sum over ``values`` float32 numbers."""
    return Node("move", 0.0, 0.0, 2.0 * FLOAT * values, count)


def view(count: int) -> Node:
    """Describe changes of shape alone."""
    return Node("view", count=count)
