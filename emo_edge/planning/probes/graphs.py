"""Graphs of equal nodes, whose speed tells an engine's rates on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.planning.cost.work import Kind, Node, Precision
from emo_edge.tensors import TensorSpec
from emo_edge.utils.extras import missing_extra

OPSET = 20


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
        """What one of its nodes does."""
        count, last = float(np.prod(self.shape)), self.shape[-1]
        if self.kind == "product":
            return Node("product", 2 * count * last, 4.0 * last * last, 8 * count, 1, self.precision)
        if self.kind == "attention":
            return Node("attention", 2 * count * last, 0.0, 4 * (2 * count + last * last))
        return Node(self.kind, 0.0, 0.0, 8 * count)

    def spec(self) -> tuple[TensorSpec, TensorSpec]:
        """Describe the input and the output; the one is fed with ones."""
        return TensorSpec("x", "float32", self.shape), TensorSpec("y", "float32", self.shape)

    def write(self, path: Path) -> Path:
        """Write the graph; raises MissingExtraError without the ``onnx`` package."""
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise missing_extra(error) from error
        path.write_bytes(_model(onnx, self).SerializeToString())
        return path


def _model(onnx: Any, probe: GraphProbe) -> Any:
    helper, numbers = onnx.helper, np.random.default_rng(0)
    half = probe.precision == "fp16"
    nodes = [helper.make_node("Cast", ["x"], ["v0"], to=10 if half else 1)]
    constants: dict[str, NDArray[Any]] = {}
    for place in range(probe.chain):
        read, made = f"v{place}", f"v{place + 1}"
        nodes += _chained(helper, probe, place, read, made, constants, numbers)
    nodes.append(helper.make_node("Cast", [f"v{probe.chain}"], ["y"], to=1))
    values = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    read, made = (helper.make_tensor_value_info(name, 1, list(probe.shape)) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "probe", [read], [made], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _chained(
    helper: Any,
    probe: GraphProbe,
    place: int,
    read: str,
    made: str,
    constants: dict[str, NDArray[Any]],
    numbers: np.random.Generator,
) -> Iterator[Any]:
    last = probe.shape[-1]
    if probe.kind == "product":
        weight = numbers.normal(0, last**-0.5, (last, last))
        yield from _product(helper, probe.precision, place, read, made, weight, constants)
    elif probe.kind == "attention":
        # The value with itself, transposed as attention's keys are; square, so that it can go on.
        yield helper.make_node("MatMul", [read, read], [made])
    elif probe.kind == "function":
        constants["scale"] = np.ones(last, np.float32)
        name = ("Softmax", "Gelu", "LayerNormalization")[place % 3]
        yield helper.make_node(name, [read, "scale"] if name.startswith("Layer") else [read], [made])
    elif place % 2:
        # What most nodes of these graphs do: a bias, a transposition that no reshape lets be moved away.
        constants["whole"] = np.array(probe.shape)
        yield helper.make_node("Transpose", [read], [f"{made}t"], perm=[1, 0])
        yield helper.make_node("Reshape", [f"{made}t", "whole"], [made])
    else:
        constants["row"] = np.full(last, 0.01, np.float32)
        yield helper.make_node("Add", [read, "row"], [made])


def _product(
    helper: Any,
    precision: Precision,
    place: int,
    read: str,
    made: str,
    weight: NDArray[np.float64],
    constants: dict[str, NDArray[Any]],
) -> Iterator[Any]:
    name = f"w{place}"
    if precision != "int8":
        constants[name] = weight.astype(np.float16 if precision == "fp16" else np.float32)
        yield helper.make_node("MatMul", [read, name], [made])
        return
    # As emo-edge calibrate writes it: symmetric, a scale for the tensor, activations quantized before the product.
    constants |= {"s": np.array(1 / 32, np.float32), "z": np.array(0, np.int8)}
    constants[name] = np.clip(weight * 127, -127, 127).astype(np.int8)
    yield helper.make_node("QuantizeLinear", [read, "s", "z"], [f"{made}q"])
    yield helper.make_node("DequantizeLinear", [f"{made}q", "s", "z"], [f"{made}d"])
    yield helper.make_node("DequantizeLinear", [name, "s", "z"], [f"{name}d"])
    yield helper.make_node("MatMul", [f"{made}d", f"{name}d"], [made])
