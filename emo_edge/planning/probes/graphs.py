"""Graphs of equal nodes, whose speed gives an engine's rates on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.planning.cost.work import Kind, Node, Precision
from emo_edge.tensors import TensorSpec
from emo_edge.utils.extras import failed_import
from emo_edge.utils.memory import require_memory

OPSET = 20
COPIES = 6
"""Of float32 weights at once, at most: as numbers, in messages that contain each other, as bytes, in the engine."""
HEADROOM = 32 << 20


@dataclass(frozen=True)
class GraphProbe:
    """A graph of equal nodes, one after the other."""

    kind: Kind
    precision: Precision
    shape: tuple[int, ...]
    """Of the value that goes through it."""
    chain: int = 16
    """Nodes."""

    @property
    def node(self) -> Node:
        """Operations and bytes of one of its nodes."""
        count, last = float(np.prod(self.shape)), self.shape[-1]
        if self.kind == "matmul":
            return Node("matmul", 2 * count * last, 4.0 * last * last, 8 * count, 1, self.precision)
        if self.kind == "attention":
            return Node("attention", 2 * count * last, 0.0, 4 * (2 * count + last * last))
        return Node(self.kind, 0.0, 0.0, 8 * count)

    def spec(self) -> tuple[TensorSpec, TensorSpec]:
        """Describe the input and the output."""
        return TensorSpec("x", "float32", self.shape), TensorSpec("y", "float32", self.shape)

    def write(self, path: Path) -> Path:
        """Write the graph.

        Raises MissingExtraError without the ``onnx`` package, DeviceMemoryError where memory is short: protobuf would
        end the process.
        """
        try:
            import onnx
        except ImportError as error:
            raise failed_import(error) from error
        weights = self.chain * self.node.weight_bytes
        require_memory(int(COPIES * weights) + HEADROOM, f"measuring a {self.kind} of {self.shape[-1]} columns")
        path.write_bytes(_model(onnx, self).SerializeToString())
        return path


def _model(onnx: Any, probe: GraphProbe) -> Any:
    helper, numbers = onnx.helper, np.random.default_rng(0)
    half = probe.precision == "fp16"
    nodes = [helper.make_node("Cast", ["x"], ["v0"], to=10 if half else 1)]
    constants: dict[str, NDArray[Any]] = {}
    for index in range(probe.chain):
        nodes += _Link(helper, probe, index, constants).nodes(numbers)
    nodes.append(helper.make_node("Cast", [f"v{probe.chain}"], ["y"], to=1))
    values = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    source, target = (helper.make_tensor_value_info(name, 1, list(probe.shape)) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "probe", [source], [target], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


@dataclass(frozen=True)
class _Link:
    """One link of a probe's chain: the nodes that turn value ``index`` into the next."""

    helper: Any
    probe: GraphProbe
    index: int
    constants: dict[str, NDArray[Any]]
    """By name, of the whole graph; a link adds its own."""

    @property
    def source(self) -> str:
        return f"v{self.index}"

    @property
    def target(self) -> str:
        return f"v{self.index + 1}"

    def nodes(self, numbers: np.random.Generator) -> Iterator[Any]:
        last = self.probe.shape[-1]
        if self.probe.kind == "matmul":
            yield from self._matmul(numbers.normal(0, last**-0.5, (last, last)))
        elif self.probe.kind == "attention":
            # The value with itself, transposed as attention's keys are; square, so that it can go on.
            yield self.helper.make_node("MatMul", [self.source, self.source], [self.target])
        elif self.probe.kind == "function":
            self.constants["scale"] = np.ones(last, np.float32)
            name = ("Softmax", "Gelu", "LayerNormalization")[self.index % 3]
            inputs = [self.source, "scale"] if name.startswith("Layer") else [self.source]
            yield self.helper.make_node(name, inputs, [self.target])
        else:
            yield from self._move(last)

    def _move(self, last: int) -> Iterator[Any]:
        """Yield what most nodes of these graphs do: a bias, a transposition that no reshape lets be moved away."""
        if self.index % 2:
            self.constants["whole"] = np.array(self.probe.shape)
            yield self.helper.make_node("Transpose", [self.source], [f"{self.target}t"], perm=[1, 0])
            yield self.helper.make_node("Reshape", [f"{self.target}t", "whole"], [self.target])
        else:
            self.constants["row"] = np.full(last, 0.01, np.float32)
            yield self.helper.make_node("Add", [self.source, "row"], [self.target])

    def _matmul(self, weight: NDArray[np.float64]) -> Iterator[Any]:
        name, precision = f"w{self.index}", self.probe.precision
        if precision != "int8":
            self.constants[name] = weight.astype(np.float16 if precision == "fp16" else np.float32)
            yield self.helper.make_node("MatMul", [self.source, name], [self.target])
            return
        # As emo-edge calibrate writes it: symmetric, a scale for the tensor, activations quantized before the matmul.
        self.constants.update({"s": np.array(1 / 32, np.float32), "z": np.array(0, np.int8)})
        self.constants[name] = np.clip(weight * 127, -127, 127).astype(np.int8)
        yield self.helper.make_node("QuantizeLinear", [self.source, "s", "z"], [f"{self.target}q"])
        yield self.helper.make_node("DequantizeLinear", [f"{self.target}q", "s", "z"], [f"{self.target}d"])
        yield self.helper.make_node("DequantizeLinear", [name, "s", "z"], [f"{name}d"])
        yield self.helper.make_node("MatMul", [f"{self.target}d", f"{name}d"], [self.target])
