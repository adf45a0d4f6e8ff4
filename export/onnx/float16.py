"""The float16 form of a float32 graph, written again node by node: every type stands in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from emo_edge.errors import CheckpointError
from emo_edge.export.onnx.graph_file import Graph, Weight, declared

MATMULS = frozenset({"Conv", "Gemm", "MatMul"})
"""Computed in float16."""
FOLLOWERS = frozenset(
    {"Concat", "Gather", "Gelu", "Mul", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Computed in float16 where every activation they read is; every other operator is computed in float32."""
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


def float16_from_full(full: Graph) -> Graph:
    """Return the float16 form of a float32 graph: weights, matmuls and what lies between them in float16.

    LayerNorm, softmax, the residual stream, the pixels' normalisation and coordinates stay float32. Large weights are
    cast on their way into the file. Raises CheckpointError if a weight does not fit float16.
    """
    own = full.model
    model = ModelProto(ir_version=own.ir_version, opset_import=own.opset_import, producer_name=own.producer_name)
    writer = _Float16Writer(full, model.graph)
    writer.write()
    return Graph(model, full.inputs, full.outputs, writer.weights)


class _Float16Writer:
    """Write a float32 graph again, node by node, and decide the type of every float tensor on the way."""

    def __init__(self, source: Graph, target: GraphProto) -> None:
        full = source.model.graph
        self.full, self.target, self.full_weights = full, target, source.weights
        self.weights: dict[str, Weight] = {}
        """Of the new graph."""
        self.constants = {tensor.name: tensor for tensor in full.initializer}
        self.kept = {value.name for value in full.output}
        self.floats = {tensor.name for tensor in full.initializer if tensor.data_type == FLOAT}
        inferred = shape_inference.infer_shapes(source.model).graph
        for value in (*full.input, *inferred.value_info):
            if value.type.tensor_type.elem_type == FLOAT:
                self.floats.add(value.name)
        self.float16: set[str] = set()
        """Activations in float16."""
        self.matmuls: set[str] = set()
        """Those of them that are outputs of a matmul, so that a constant added to them is its bias."""
        self.written: set[str] = set()
        """Casts and constants the new graph already has."""

    def write(self) -> None:
        """Fill the new graph."""
        self.target.name = self.full.name
        self.target.input.extend(self.full.input)
        self.target.output.extend(self.full.output)
        for node in self.full.node:
            self._write_node(node)

    def _write_node(self, node: NodeProto) -> None:
        reads = [name for name in node.input if name in self.floats]
        in_float16 = self._runs_in_float16(node.op_type, reads)
        inputs = [self._read(name, in_float16) for name in node.input]
        copy = self.target.node.add()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        if _gives_float(node, reads):
            self.floats.update(node.output)
        if in_float16:
            self._note_float16(copy)

    def _runs_in_float16(self, op_type: str, reads: list[str]) -> bool:
        activations = [name for name in reads if name not in self.constants]
        if op_type in MATMULS:
            return True
        if op_type == "Add":
            # Two activations are a residual or a mask: float32.
            return len(activations) == 1 and len(reads) == 2 and activations[0] in self.matmuls
        if op_type == "Gather" and reads and not activations:
            # A table of embeddings is a weight.
            return True
        return op_type in FOLLOWERS and bool(activations) and self.float16.issuperset(activations)

    def _note_float16(self, node: NodeProto) -> None:
        for index, name in enumerate(node.output):
            if name in self.kept:
                node.output[index] = f"{name}_fp16"
                self._cast(f"{name}_fp16", name, FLOAT)
            else:
                self.float16.add(name)
                if node.op_type in MATMULS:
                    self.matmuls.add(name)

    def _read(self, name: str, in_float16: bool) -> str:
        if name in self.constants:
            return self._constant(name, in_float16 and name in self.floats)
        if name not in self.floats or (name in self.float16) == in_float16:
            return name
        return self._cast(name, f"{name}_fp16" if in_float16 else f"{name}_fp32", FLOAT16 if in_float16 else FLOAT)

    def _cast(self, name: str, result: str, to: int) -> str:
        if result not in self.written:
            self.target.node.append(helper.make_node("Cast", [name], [result], name=f"cast_{result}", to=to))
            self.written.add(result)
        return result

    def _constant(self, name: str, in_float16: bool) -> str:
        result = f"{name}_fp16" if in_float16 else name
        if result not in self.written:
            self.target.initializer.append(self._written_constant(name, result, in_float16))
            self.written.add(result)
        return result

    def _written_constant(self, name: str, result: str, in_float16: bool) -> TensorProto:
        tensor, weight = self.constants[name], self.full_weights.get(name)
        if weight is None:
            return (
                numpy_helper.from_array(_as_float16(name, numpy_helper.to_array(tensor)), result)
                if in_float16
                else tensor
            )
        if in_float16:
            _as_float16(name, weight.values)
            weight = Weight(weight.values, np.dtype(np.float16))
        self.weights[result] = weight
        return declared(result, weight)


def _gives_float(node: NodeProto, reads: list[str]) -> bool:
    if node.op_type == "Cast":
        return any(attribute.name == "to" and attribute.i == FLOAT for attribute in node.attribute)
    return bool(reads) and node.op_type != "Shape"


def _as_float16(name: str, values: NDArray[Any]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise CheckpointError(f"{name}: holds values beyond float16's range of 65504; use fp32")
    return rounded
