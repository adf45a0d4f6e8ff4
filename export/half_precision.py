"""The float16 form of a float32 graph, written again node by node: every type stands in the graph."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from emo_edge.errors import CheckpointError

PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
"""Computed in float16."""
FOLLOWERS = frozenset(
    {"Concat", "Gather", "Gelu", "Mul", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Computed in float16 where every activation they read is; every other operator is computed in float32."""
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


def half_model(full: ModelProto) -> ModelProto:
    """Return the float16 form of a float32 model; see `onnx_graphs.half_from_full`.

    Raises CheckpointError if a weight does not fit float16.
    """
    half = ModelProto(ir_version=full.ir_version, opset_import=full.opset_import, producer_name=full.producer_name)
    _HalfWriter(full.graph, half.graph).write()
    return half


class _HalfWriter:
    """Write a float32 graph again, node by node, and decide the type of every float tensor on the way."""

    def __init__(self, full: GraphProto, half: GraphProto) -> None:
        self.full, self.half = full, half
        self.constants = {tensor.name: tensor for tensor in full.initializer}
        self.kept = {value.name for value in full.output}
        self.floats = {tensor.name for tensor in full.initializer if tensor.data_type == FLOAT}
        self.floats |= {value.name for value in full.input if value.type.tensor_type.elem_type == FLOAT}
        self.halves: set[str] = set()
        """Activations in float16."""
        self.products: set[str] = set()
        """Those of them that come right out of a product, so that a constant added to them is its bias."""
        self.written: set[str] = set()
        """Casts and constants the new graph already has."""

    def write(self) -> None:
        """Fill the new graph."""
        self.half.name = self.full.name
        self.half.input.extend(self.full.input)
        self.half.output.extend(self.full.output)
        for node in self.full.node:
            self._write_node(node)

    def _write_node(self, node: NodeProto) -> None:
        reads = [name for name in node.input if name in self.floats]
        in_half = self._runs_in_half(node.op_type, reads)
        inputs = [self._read(name, in_half) for name in node.input]
        copy = self.half.node.add()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        if _gives_float(node, reads):
            self.floats.update(node.output)
        if in_half:
            self._note_halves(copy)

    def _runs_in_half(self, op_type: str, reads: list[str]) -> bool:
        activations = [name for name in reads if name not in self.constants]
        if op_type in PRODUCTS:
            return True
        if op_type == "Add":
            # Two activations are a residual or a mask: float32.
            return len(activations) == 1 and len(reads) == 2 and activations[0] in self.products
        if op_type == "Gather" and reads and not activations:
            # A table of embeddings is a weight.
            return True
        return op_type in FOLLOWERS and bool(activations) and self.halves.issuperset(activations)

    def _note_halves(self, node: NodeProto) -> None:
        for place, name in enumerate(node.output):
            if name in self.kept:
                node.output[place] = f"{name}_fp16"
                self._cast(f"{name}_fp16", name, FLOAT)
            else:
                self.halves.add(name)
                if node.op_type in PRODUCTS:
                    self.products.add(name)

    def _read(self, name: str, in_half: bool) -> str:
        if name in self.constants:
            return self._constant(name, in_half and name in self.floats)
        if name not in self.floats or (name in self.halves) == in_half:
            return name
        return self._cast(name, f"{name}_fp16" if in_half else f"{name}_fp32", FLOAT16 if in_half else FLOAT)

    def _cast(self, name: str, result: str, to: int) -> str:
        if result not in self.written:
            self.half.node.append(helper.make_node("Cast", [name], [result], name=f"cast_{result}", to=to))
            self.written.add(result)
        return result

    def _constant(self, name: str, in_half: bool) -> str:
        result = f"{name}_fp16" if in_half else name
        if result not in self.written:
            tensor = self.constants[name]
            self.half.initializer.append(_half_tensor(tensor, result) if in_half else tensor)
            self.written.add(result)
        return result


def _gives_float(node: NodeProto, reads: list[str]) -> bool:
    if node.op_type == "Cast":
        return any(attribute.name == "to" and attribute.i == FLOAT for attribute in node.attribute)
    return bool(reads) and node.op_type != "Shape"


def _half_tensor(tensor: TensorProto, name: str) -> TensorProto:
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(tensor).astype(np.float16)
    if not np.isfinite(values).all():
        raise CheckpointError(f"{tensor.name}: holds values beyond float16's range of 65504; use fp32")
    return numpy_helper.from_array(values, name)
