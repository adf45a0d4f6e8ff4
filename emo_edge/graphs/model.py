"""An ONNX graph's nodes, constants, inputs and outputs, without its weights. Field numbers are ``onnx.proto3``'s."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.graphs.wire import Buffer, Message

BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4}
"""Of each element type that a graph may hold: ONNX's ``TensorProto.DataType``."""
FLOAT, UINT8, INT32, INT64, BOOL, FLOAT16, DOUBLE = 1, 2, 6, 7, 9, 10, 11
KEPT_VALUES = 64
"""Numbers in a constant whose values are read: what is larger is no arithmetic on shapes."""
MOST_AXES = 12
OWN_DOMAINS = ("", "ai.onnx")
MOST_NODES, MOST_BYTES = 10_000, 16 << 20
"""Of a graph, and of its message without the weights. EVA ViT-g in INT8 has 4,000 nodes in 2 MB."""
_NUMPY = {FLOAT: "<f4", INT32: "<i4", INT64: "<i8", BOOL: "?", DOUBLE: "<f8", FLOAT16: "<f2"}
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """A tensor in the graph: its shape, type, and where its data lie."""

    name: str
    shape: Shape
    kind: int
    stored: int
    """Bytes of its data in the graph's file."""
    raw: bool
    """True where they are as an engine holds them; else they are a list of numbers, of one to ten bytes each."""
    location: str | None = None
    """The file that holds it, where it is another one."""
    offset: int = 0
    length: int | None = None
    values: NDArray[Any] | None = None
    """Of a small one."""

    @property
    def bytes(self) -> int:
        """Bytes of its values as an engine holds them."""
        return -(-math.prod(self.shape) * BITS.get(self.kind, 64) // 8)


@dataclass(frozen=True)
class Node:
    """One operator."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, list[int]] = field(default_factory=dict)
    """Attributes of whole numbers."""
    floats: dict[str, list[float]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    constant: Constant | None = None
    """Of an attribute that is a tensor."""

    def number(self, name: str, default: int) -> int:
        """Return an attribute of one whole number."""
        return (self.numbers.get(name) or [default])[0]


@dataclass(frozen=True)
class Port:
    """An input or an output as the graph declares it; an axis without a number is None."""

    name: str
    kind: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class GraphFile:
    """One graph."""

    opset: int
    nodes: tuple[Node, ...]
    constants: tuple[Constant, ...]
    inputs: tuple[Port, ...]
    """Those that are fed."""
    outputs: tuple[Port, ...]


def read_graph(content: Buffer) -> GraphFile:
    """Read a graph; raise ValueError for what is none, or holds what only a hostile one does.

    That is a graph inside a node, functions, operators of another domain, training, sparse or text tensors, and more
    nodes or bytes than any network of these families has.
    """
    model = Message(content, [(0, len(content))])
    if model.has(_TRAINING) or model.has(_FUNCTIONS):
        raise ValueError("a graph with functions or training steps of its own")
    opset = max((_opset(entry) for entry in model.messages(8)), default=1)
    graph = model.message(_GRAPH)
    if graph.has(15):
        raise ValueError("a graph with sparse weights")
    tensors = graph.messages(5)
    weights = sum(tensor.size(9) for tensor in tensors)
    nodes = graph.ranges(1)
    if len(nodes) > MOST_NODES or len(content) - weights > MOST_BYTES:
        raise ValueError(f"a graph of {len(nodes)} nodes in {len(content) - weights} bytes, more than any of ours")
    constants = tuple(_constant(tensor) for tensor in tensors)
    inputs, outputs = _ports(graph, {constant.name for constant in constants})
    return GraphFile(opset, tuple(_node(Message(content, [one])) for one in nodes), constants, inputs, outputs)


def read_ports(content: Buffer) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Read the inputs that are fed and the outputs, and nothing else; raise ValueError for what is no graph."""
    graph = Message(content, [(0, len(content))]).message(_GRAPH)
    return _ports(graph, {tensor.text(8) for tensor in graph.messages(5)})


def _ports(graph: Message, held: Set[str]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return the inputs without the constants that stand among them, and the outputs."""
    inputs, outputs = ([_port(port) for port in graph.messages(number)] for number in (11, 12))
    return tuple(port for port in inputs if port.name not in held), tuple(outputs)


def _opset(entry: Message) -> int:
    domain = entry.text(1)
    return entry.number(2) if domain in OWN_DOMAINS else 0


def _node(node: Message) -> Node:
    operator, domain = node.text(4), node.text(7)
    if domain not in OWN_DOMAINS:
        raise ValueError(f"an operator {operator!a} of the domain {ascii(domain)[:60]}, which is not ONNX's")
    numbers, floats, texts, constant = dict[str, list[int]](), dict[str, list[float]](), dict[str, str](), None
    for attribute in node.messages(5):
        name = attribute.text(1)
        if name in numbers:
            raise ValueError(f"an operator {operator!a} with an attribute {ascii(name)[:60]} that stands twice")
        if any(attribute.has(number) for number in (6, 10, 11, 22, 23)):
            raise ValueError(f"an operator {operator!a} with a graph or a list of tensors inside")
        if attribute.has(5):
            constant = _constant(attribute.message(5))
        numbers[name] = attribute.numbers(8) if attribute.has(8) else [attribute.number(3)]
        floats[name] = attribute.floats(7) if attribute.has(7) else attribute.floats(2)
        texts[name] = attribute.text(4)
    return Node(operator, tuple(node.texts(1)), tuple(node.texts(2)), numbers, floats, texts, constant)


def _constant(tensor: Message) -> Constant:
    name, kind = tensor.text(8), tensor.number(2)
    if kind not in BITS:
        raise ValueError(f"a constant {ascii(name)[:60]} of the element type {kind}")
    if tensor.size(1) > 10 * MOST_AXES:
        raise ValueError(f"a constant {ascii(name)[:60]} of too many axes")
    shape = tuple(tensor.numbers(1))
    if any(size < 0 for size in shape):
        raise ValueError(f"a constant {ascii(name)[:60]} of the shape {list(shape)}")
    entries = dict(_entries(tensor))
    external = tensor.number(14) == 1 or bool(entries)
    data = (9,) if tensor.has(9) else (4, 5, 7, 10, 11)
    stored = sum(tensor.size(number) for number in data)
    constant = Constant(
        name,
        shape,
        kind,
        stored,
        tensor.has(9),
        entries.get("location", "") if external else None,
        _whole(entries.get("offset", "0")),
        _whole(entries["length"]) if "length" in entries else None,
    )
    if external or math.prod(shape) > KEPT_VALUES or kind not in _NUMPY:
        return constant
    return replace(constant, values=_values(tensor, constant))


def _entries(tensor: Message) -> Iterator[tuple[str, str]]:
    for entry in tensor.messages(13):
        yield entry.text(1), entry.text(2)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"an external offset or length {ascii(text)[:40]}")
    return int(text)


def _values(tensor: Message, constant: Constant) -> NDArray[Any] | None:
    """Read a small constant; None for one whose data are not as many as its shape says, which `bounds` refuses."""
    dtype = np.dtype(_NUMPY[constant.kind])
    if tensor.has(9):
        raw = b"".join(tensor.content[start:end] for start, end in tensor.ranges(9))
        flat: Any = np.frombuffer(raw, dtype) if len(raw) == constant.bytes else None
    elif constant.kind == FLOAT:
        flat = np.array(tensor.floats(4), dtype)
    elif constant.kind == DOUBLE:
        raw = b"".join(tensor.content[start:end] for start, end in tensor.ranges(10))
        flat = np.frombuffer(raw[: len(raw) // 8 * 8], dtype)
    elif constant.kind == FLOAT16:
        flat = np.array(tensor.numbers(5), np.int64).astype(np.uint16).view(np.float16)
    else:
        flat = np.array(tensor.numbers(7 if constant.kind == INT64 else 5), np.int64).astype(dtype)
    return flat.reshape(constant.shape) if flat is not None and flat.size == math.prod(constant.shape) else None


def _port(port: Message) -> Port:
    kind = port.message(2)
    tensor = kind.message(1)
    if not kind.has(1):
        raise ValueError(f"an input or output {ascii(port.text(1))[:60]} that is no tensor")
    if not tensor.has(2):
        return Port(port.text(1), tensor.number(1), None)
    axes = tensor.message(2).messages(1)
    sizes = tuple(axis.number(1) if axis.has(1) else None for axis in axes)
    return Port(port.text(1), tensor.number(1), sizes)
