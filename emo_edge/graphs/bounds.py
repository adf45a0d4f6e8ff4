"""Bounds of a graph that an engine may load: its operators, its constants, the memory and the work that it asks for.

An engine computes what follows from constants while it loads, so that a graph of 200 bytes can take all memory, or
never end. Here the size of every value follows from reading alone: without control flow, nothing else decides it.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.graphs.model import Constant, GraphFile, Node, Port, Shape, read_graph
from emo_edge.graphs.reads import Reads
from emo_edge.graphs.shapes import output_shapes
from emo_edge.graphs.values import Array, known_values
from emo_edge.graphs.wire import Buffer

ELEMENT_BYTES = 4
"""Of an intermediate value; those of eight are small."""
PICTURES = (1, 4)
"""Sizes of the first open axis that are tried: what grows faster than it does is found by the second."""
OTHER_AXES = 64
"""Size of every other open axis, words of a question for instance."""
MOST_MEMORY = 512 << 20
"""Bytes alive at once for one picture. EVA ViT-g at 448 px has 0.2 GB, which grows with the fourth power."""
MOST_WORK = 2e13
"""Operations for one picture: EVA ViT-g at 448 px has 2.3e12."""
MOST_MOVED = 200e9
"""Bytes written for one picture."""
MATMULS = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass
class Cost:
    """Memory and work of one run."""

    peak: int = 0
    """Bytes alive at once, the weights left out."""
    moved: float = 0.0
    """Bytes written."""
    operations: float = 0.0


def check_graph_file(path: Path) -> None:
    """Raise ValueError for a graph that no engine should load, naming the reason; see `check_graph`.

    Constants in other files are compared with these files' sizes, where they are there.
    """
    with path.open("rb") as stream:
        if path.stat().st_size == 0:
            raise ValueError("an empty file, no ONNX graph")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graph = check_graph(content)
    for constant in graph.constants:
        if constant.location is not None:
            _check_external(constant, path.parent)


def check_graph(content: Buffer, other_axes: int = OTHER_AXES) -> GraphFile:
    """Read a graph and return it; raise ValueError for one that holds or asks for more than these networks do.

    The first open axis of an input counts pictures; ``other_axes`` is the size of every other one.
    """
    graph = read_graph(content)
    constants = [*graph.constants, *(node.constant for node in graph.nodes if node.constant is not None)]
    for constant in constants:
        if constant.location is None and not _holds_its_data(constant):
            raise ValueError(
                f"a constant {_name(constant.name)} of the shape {list(constant.shape)} with {constant.stored} bytes"
            )
    for pictures in PICTURES:
        cost = run_cost(graph, pictures, other_axes)
        _check_cost(cost, pictures)
    return graph


def run_cost(graph: GraphFile, pictures: int, other_axes: int = OTHER_AXES) -> Cost:
    """Add up the memory and the work of a run for a number of pictures; raise ValueError for sizes that do not follow.

    Stops as soon as one bound is exceeded.
    """
    run = _Run(graph, pictures, other_axes)
    for place, node in enumerate(graph.nodes):
        try:
            run.add(place, node)
        except ValueError as error:
            raise ValueError(f"the node {_name(node.operator)} {_name((node.outputs or ('',))[0])}: {error}") from error
        _check_cost(run.cost, pictures)
    return run.cost


def _check_cost(cost: Cost, pictures: int) -> None:
    if cost.peak > MOST_MEMORY * pictures:
        raise ValueError(f"a run on {pictures} picture(s) needs {cost.peak / 1e9:.1f} GB of memory besides its weights")
    if cost.operations > MOST_WORK * pictures or cost.moved > MOST_MOVED * pictures:
        raise ValueError(
            f"a run on {pictures} picture(s) takes {cost.operations:.1e} operations on {cost.moved / 1e9:.1f} GB"
        )


class _Run:
    """The values of one run: their shapes, the numbers that are known, and the bytes that are alive."""

    def __init__(self, graph: GraphFile, pictures: int, other_axes: int) -> None:
        self.cost, self._opset = Cost(), graph.opset
        self._shapes: dict[str, Shape] = {constant.name: constant.shape for constant in graph.constants}
        self._values: dict[str, Array] = {
            constant.name: constant.values for constant in graph.constants if constant.values is not None
        }
        self._settled = {constant.name for constant in graph.constants}
        """Known before the run, and kept for good by engines that compute them while they load."""
        self._stored = {constant.name for constant in graph.constants}
        """Weights that lie in the file. No engine computes the float values of all INT8 ones at once, and those are no
        more than the file's bytes four times."""
        self._last_read = _last_reads(graph)
        self._alive, self._bytes = dict[str, int](), 0
        for port in graph.inputs:
            self._shapes[port.name] = _fed(port, pictures, other_axes)
            self._keep(port.name)

    def add(self, place: int, node: Node) -> None:
        """Take one node into account."""
        shapes = [self._shapes.get(name) if name else None for name in node.inputs]
        if unknown := [name for name, shape in zip(node.inputs, shapes, strict=True) if name and shape is None]:
            raise ValueError(f"reads {_name(unknown[0])}, which nothing before it gives")
        values = [self._values.get(name) for name in node.inputs]
        if node.operator == "Constant":
            made = [_constant_shape(node)]
        else:
            made = output_shapes(node, Reads(shapes, values, self._opset))
        weight = node.operator == "DequantizeLinear" and node.inputs[0] in self._stored
        settled = not weight and all(name in self._settled for name in node.inputs if name)
        for name, shape in zip(node.outputs, made, strict=True):
            self._shapes[name] = shape
            if settled:
                self._settled.add(name)
            if not weight:
                self._keep(name)
        self._compute(node, shapes, values, made)
        self.cost.operations += _operations(node, shapes, made)
        for name in (*node.inputs, *node.outputs):
            if self._last_read.get(name, -1) <= place and name not in self._settled:
                self._bytes -= self._alive.pop(name, 0)

    def _keep(self, name: str) -> None:
        size = ELEMENT_BYTES * math.prod(self._shapes[name])
        self._bytes += size - self._alive.get(name, 0)
        self._alive[name] = size
        self.cost.moved += size
        self.cost.peak = max(self.cost.peak, self._bytes)

    def _compute(
        self, node: Node, shapes: Sequence[Shape | None], values: Sequence[Array | None], made: Sequence[Shape]
    ) -> None:
        numbers = known_values(node, shapes, values, made[0]) if made else None
        if numbers is not None:
            self._values[node.outputs[0]] = numbers


def _last_reads(graph: GraphFile) -> Mapping[str, int]:
    reads = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    return reads | {port.name: len(graph.nodes) for port in graph.outputs}


def _fed(port: Port, pictures: int, other_axes: int) -> Shape:
    if port.shape is None:
        raise ValueError(f"the input {_name(port.name)} has no shape")
    if any(size is not None and size < 0 for size in port.shape):
        raise ValueError(f"the input {_name(port.name)} has the shape {list(port.shape)}")
    opened = [pictures, *[other_axes] * len(port.shape)]
    return tuple(opened[place] if size is None else size for place, size in enumerate(port.shape))


def _constant_shape(node: Node) -> Shape:
    if node.constant is not None:
        return node.constant.shape
    for lists in (node.numbers.get("value_ints"), node.floats.get("value_floats")):
        if lists:
            return (len(lists),)
    return ()


def _operations(node: Node, shapes: Sequence[Shape | None], made: Sequence[Shape]) -> float:
    """Count two operations a multiplication of a matmul, and one a value of any other node."""
    values = float(sum(math.prod(shape) for shape in made))
    if node.operator not in MATMULS:
        return values
    first, second = shapes[0] or (), shapes[1] or ()
    if node.operator == "Conv":
        return 2.0 * values * math.prod(second[1:])
    return 2.0 * values * first[0 if node.operator == "Gemm" and node.number("transA", 0) else -1]


def _holds_its_data(constant: Constant) -> bool:
    """Return whether as many numbers lie in the file as the shape says."""
    count = math.prod(constant.shape)
    return constant.stored == constant.bytes or (not constant.raw and count <= constant.stored <= 10 * count)


def _check_external(constant: Constant, folder: Path) -> None:
    path = folder / str(constant.location)
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return  # named by the check of references
    length = constant.bytes if constant.length is None else constant.length
    if length != constant.bytes or constant.offset + length > size:
        raise ValueError(
            f"a constant {_name(constant.name)} of {constant.bytes} bytes that lies at {constant.offset} in a file of "
            f"{size}"
        )


def _name(name: str) -> str:
    return ascii(name)[:60]
