"""A float graph with its matmuls in INT8: QuantizeLinear and DequantizeLinear around them, types all in the graph.

ONNX Runtime's own writer (`QDQQuantizer`) gives the same numbers where both apply, and a test holds ours to it. It is
not used because it rewires every reader of a quantized activation, the residual stream too, unless each matmul gets
a pair of its own, and because it copies every float32 weight for every trial of a plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from emo_edge.calibration.int8.clipping_thresholds import LEVELS
from emo_edge.calibration.int8.graph_files import load_graph, refuse_existing, save_model
from emo_edge.calibration.int8.matmuls import Matmul, matmuls
from emo_edge.errors import CheckpointError, InputError
from emo_edge.tensors import Tensor
from emo_edge.utils.native_paths import native_path

LEAST_OPSET = {TensorProto.FLOAT: 13, TensorProto.FLOAT16: 19}
"""That has Q/DQ with per-channel scales of the type."""


@dataclass(frozen=True)
class QuantizedGraph:
    """The written graph: its nodes in INT8 and its size."""

    files: list[Path]
    quantized: tuple[str, ...]
    """Nodes in INT8."""
    kept: tuple[str, ...]
    """Products left as they were."""

    @property
    def nbytes(self) -> int:
        """Size of the files."""
        return sum(file.stat().st_size for file in self.files)


def int8_from_float(
    source: Path, target: Path, thresholds: Mapping[str, float], *, keep: Collection[str] = ()
) -> QuantizedGraph:
    """Write ``source`` with its matmuls in INT8 to ``target``.

    Activations are symmetric int8 of one scale each, weights symmetric int8 of one scale an output channel, zero
    points 0 throughout (TensorRT refuses others). Biases, matmuls of two activations and everything else stay as
    they are: a matmul's result is float at once.

    Args:
        source: a float32 graph, or its float16 form: scales then are float16.
        target: ``NAME.onnx``; weights too large for one message go to a file next to it.
        thresholds: largest magnitude of each activation that is not clipped, by the names of the float32 graph.
        keep: nodes not to quantize.

    Raises CheckpointError if ``target`` exists or the graph is malformed, of too old an opset or has no matmul,
    InputError for a threshold that is missing or not finite, or a node to keep that is no matmul.
    """
    refuse_existing(target)
    model, quantized = int8_model(source, thresholds, keep=keep)
    files = save_model(model, source.parent, target)
    return QuantizedGraph(files, quantized, tuple(name for name in _names(source) if name not in set(quantized)))


def int8_model(
    source: Path, thresholds: Mapping[str, float], *, keep: Collection[str] = ()
) -> tuple[ModelProto, tuple[str, ...]]:
    """Return what `int8_from_float` writes, and the nodes in INT8; other large weights stay in ``source``'s file."""
    model = load_graph(source)
    every = matmuls(model.graph)
    if not every:
        raise CheckpointError(f"{source}: has no Conv, Gemm or MatMul with a constant weight: nothing to quantize")
    if strange := set(keep) - {matmul.node for matmul in every}:
        raise InputError(f"{', '.join(sorted(strange))}: no matmul of {source.name}, so nothing to keep")
    chosen = [matmul for matmul in every if matmul.node not in set(keep)]
    _Writer(model, source, thresholds).write(chosen)
    return model, tuple(matmul.node for matmul in chosen)


def int8_weight(values: NDArray[np.floating], axis: int) -> tuple[NDArray[np.int8], NDArray[np.floating]]:
    """Round a weight to `LEVELS` steps a side with one scale for each index on ``axis``: values and scales.

    Scales have the weight's own type and are no smaller than its least normal number.
    """
    others = tuple(other for other in range(values.ndim) if other != axis)
    scales = _scale(np.abs(values.astype(np.float32)).max(others), values.dtype)
    spread = scales.astype(np.float32).reshape([-1 if other == axis else 1 for other in range(values.ndim)])
    rounded = np.rint(values.astype(np.float32) / spread)
    return np.clip(rounded, -LEVELS, LEVELS).astype(np.int8), scales


class _Writer:
    """Put Q/DQ before the chosen matmuls of a graph, each activation's and each weight's once."""

    def __init__(self, model: ModelProto, source: Path, thresholds: Mapping[str, float]) -> None:
        self.model, self.graph, self.source, self.thresholds = model, model.graph, source, thresholds
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
        self.nodes: list[NodeProto] = []
        self.written: set[str] = set()

    def write(self, chosen: list[Matmul]) -> None:
        by_output = {matmul.output: matmul for matmul in chosen}
        for node in list(self.graph.node):
            matmul = by_output.get(node.output[0])
            if matmul is not None:
                kind = self.constants[matmul.weight].data_type
                self._require_opset(kind)
                node.input[0] = self._activation(matmul.activation, kind)
                node.input[1] = self._weight(matmul)
            self.nodes.append(node)
        self.graph.ClearField("node")
        self.graph.node.extend(self.nodes)
        self._drop_unread()

    def _activation(self, name: str, kind: int) -> str:
        if f"{name}_dequantized" not in self.written:
            dtype = helper.tensor_dtype_to_np_dtype(kind)
            self._add(f"{name}_scale", _scale(np.array(self._threshold(name), np.float32), dtype))
            self._add(f"{name}_zero", np.array(0, np.int8))
            parameters = [f"{name}_scale", f"{name}_zero"]
            self._append("QuantizeLinear", [name, *parameters], f"{name}_quantized")
            self._append("DequantizeLinear", [f"{name}_quantized", *parameters], f"{name}_dequantized")
        return f"{name}_dequantized"

    def _weight(self, matmul: Matmul) -> str:
        name, axis = f"{matmul.weight}_int8_{matmul.axis}", matmul.axis
        if f"{name}_dequantized" not in self.written:
            with native_path(self.source.parent) as folder:
                values = numpy_helper.to_array(self.constants[matmul.weight], folder)
            if not np.isfinite(values).all():
                raise CheckpointError(f"{self.source}: weight {matmul.weight} of {matmul.node} is not finite")
            rounded, scales = int8_weight(values, axis)
            self._add(name, rounded)
            self._add(f"{name}_scale", scales)
            self._add(f"{name}_zero", np.zeros(scales.shape, np.int8))
            self._append("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], f"{name}_dequantized", axis)
        return f"{name}_dequantized"

    def _threshold(self, name: str) -> float:
        # The float16 form reads a cast of what was measured.
        known = name if name in self.thresholds else self.casts.get(name, name)
        if known not in self.thresholds:
            raise InputError(f"activation {name}: has no range; gather the ranges of this graph's float32 form")
        value = self.thresholds[known]
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"activation {name}: {value} cannot be a threshold; gather the ranges again")
        return value

    def _add(self, name: str, values: Tensor) -> None:
        self.graph.initializer.append(numpy_helper.from_array(values, name))

    def _append(self, op_type: str, inputs: list[str], output: str, axis: int | None = None) -> None:
        # None of make_node's attributes may be None.
        node = helper.make_node(op_type, inputs, [output], name=output)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        self.written.add(output)

    def _require_opset(self, kind: int) -> None:
        opset = next((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if opset < LEAST_OPSET[kind]:
            raise CheckpointError(
                f"{self.source}: opset {opset} is too old for INT8: export with {LEAST_OPSET[kind]} or later"
            )

    def _drop_unread(self) -> None:
        read = {name for node in self.graph.node for name in node.input} | {out.name for out in self.graph.output}
        left = [tensor for tensor in self.graph.initializer if tensor.name in read]
        self.graph.ClearField("initializer")
        self.graph.initializer.extend(left)


def _scale(peaks: NDArray[np.float32], dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    # What holds only zeros still needs a scale above 0.
    scales: NDArray[np.floating] = np.maximum(peaks / np.float32(LEVELS), np.finfo(dtype).tiny).astype(dtype)
    return scales


def _names(source: Path) -> list[str]:
    return [matmul.node for matmul in matmuls(load_graph(source).graph)]
