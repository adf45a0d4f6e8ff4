"""A network of labels that a user gives as an ONNX graph: one picture in, one row of logits, and values, out.

How it reads a picture is data, as in the code that it was trained with: size, layout, channels, normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from emo_edge.bundle.manifest import LABEL_LOGITS, VALUES
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.networks import OnnxGraphConfig
from emo_edge.export.models.mini_xception import LUMA
from emo_edge.export.user_graphs.plain_graph import (
    behind_pixels,
    fed_inputs,
    measured_outputs,
    open_graph,
    opset_of,
    plain_graph,
    random_crops,
    reason,
    run_graph,
    with_opset,
)
from emo_edge.graphs.model import read_graph

LABEL_GRAPH_NAME = "network.onnx"
"""Name of the user's file in a checkpoint."""
KIND = "a network of labels"
SHAPE_CHANGES = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
INT8_OPSET = 19
"""That has Q/DQ with float16 scales; graphs are brought to it where the converter can."""


class LabelGraph:
    """The user's graph, open in ONNX Runtime on the CPU.

    Args:
        content: the user's file.
        config: how it reads pictures; its ``outputs`` are not read.
        labels: how many columns of the output are labels, from the first on.
        values: how many columns behind them are values.
        name: of the file, for errors.
        threads: of ONNX Runtime; None leaves it to it.

    Attributes:
        outputs: columns of the user's output.
        model: the graph from ``image``, uint8 RGB [N, s, s, 3], to ``label_logits``, float32 [N, labels],
            and, where there are values, to ``values``, float32 [N, values].

    Raises CheckpointError for a graph that does not do what the contract says.
    """

    def __init__(
        self,
        content: bytes,
        config: OnnxGraphConfig,
        labels: int,
        values: int = 0,
        *,
        name: str = LABEL_GRAPH_NAME,
        threads: int | None = None,
    ) -> None:
        user = plain_graph(content, name, KIND, config.image_size)
        require_contract(user.graph, config, name)
        self.content, self.config, self.name, self.labels, self.values = content, config, name, labels, values
        self._session = open_graph(ModelProto.FromString(content), name, threads)
        (self._fed,) = (value.name for value in fed_inputs(user.graph))
        crops = random_crops(config.image_size)
        alone = [self._raw(crop) for crop in crops]
        self.outputs = alone[0].shape[1]
        if self.outputs < labels + values:
            named = f"{labels} labels" + (f" and {values} values" if values else "")
            raise CheckpointError(f"{name}: gives {self.outputs} numbers a picture, and there are {named}")
        if all(_is_distribution(row[:, :labels]) for row in alone):
            raise CheckpointError(f"{name}: gives probabilities, not logits; export it without its last Softmax")
        if _ends_in_sigmoid(user.graph):
            raise CheckpointError(f"{name}: gives a Sigmoid of each label, not logits; export it without its last node")
        self.model = self._from_pixels(user)
        joined = open_graph(self.model, name)
        rows = [run_graph(joined, {"image": crop[None]}, name) for crop in crops]
        try:
            both = run_graph(joined, {"image": crops}, name)
        except CheckpointError:
            both = rows[0]
        measured_outputs(both, rows, name)

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the user's own file on uint8 RGB crops [N, s, s, 3]: logits, then values, [N, labels + values].

        Raises CheckpointError if it fails, or gives numbers that are not finite.
        """
        return np.concatenate([self._raw(crop)[:, : self.labels + self.values] for crop in crops])

    def _raw(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the user's own file on one picture, as a graph of a fixed batch can."""
        values = run_graph(self._session, {self._fed: network_pixels(crop, self.config)[None]}, self.name)
        if values.ndim < 2 or len(values) != 1:
            raise CheckpointError(f"{self.name}: gives {list(values.shape)} for a picture, where one row is needed")
        return values.reshape(1, -1)

    def _from_pixels(self, user: ModelProto) -> ModelProto:
        if opset_of(user) < INT8_OPSET:
            user = _newer(user, self.name)
        front, constants = _front(self.config)
        back = [helper.make_node("Flatten", ["given"], [LABEL_LOGITS], axis=1)]
        others = (VALUES,) if self.values else ()
        if self.outputs > self.labels:
            back[0].output[0] = "every_column"
            back.append(helper.make_node("Slice", ["every_column", "first", "labels", "columns"], [LABEL_LOGITS]))
            constants |= {"first": np.array([0]), "labels": np.array([self.labels]), "columns": np.array([1])}
        if self.values:
            back.append(helper.make_node("Slice", ["every_column", "labels", "values_end", "columns"], [VALUES]))
            constants["values_end"] = np.array([self.labels + self.values])
        try:
            return behind_pixels(user, self.config.image_size, front, back, constants, LABEL_LOGITS, *others)
        except Exception as error:  # a constant of any odd kind, or shapes that do not fit
            raise CheckpointError(
                f"{self.name}: not a graph that can be joined with pixels: {reason(error)}"
            ) from error


def network_pixels(crop: NDArray[np.uint8], config: OnnxGraphConfig) -> NDArray[np.float32]:
    """Normalise a uint8 RGB crop [s, s, 3] as the network reads it: [C, s, s] or [s, s, C]."""
    values = crop.astype(np.float32)
    if config.channels == "grey":
        values = (values * np.array(LUMA, np.float32)).sum(-1, keepdims=True)
    if config.channels == "bgr":
        values = values[..., ::-1]
    mean, std = np.array(config.image_mean, np.float32), np.array(config.image_std, np.float32)
    values = (values / np.float32(config.pixel_scale) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1) if config.layout == "nchw" else values)


def fixed_size(content: bytes, name: str) -> int | None:
    """Return the side of the pictures that a graph reads; None where it leaves it open.

    Raises CheckpointError for a file that is no plain graph, reads several things, or reads no square.
    """
    try:
        inputs = read_graph(content).inputs
    except ValueError as error:
        raise CheckpointError(f"{name}: no usable ONNX graph: {reason(error)}") from error
    if not content:
        raise CheckpointError(f"{name}: no usable ONNX graph: an empty file")
    if len(inputs) != 1:
        raise CheckpointError(f"{name}: has {len(inputs)} inputs; {KIND} has one, the picture")
    shape = inputs[0].shape or ()
    if len(shape) != 4:
        raise CheckpointError(f"{name}: reads {list(shape)}; {KIND} reads pictures, four axes")
    height, width = shape[1:3] if shape[3] in (1, 3) else shape[2:]
    if height != width:
        raise CheckpointError(f"{name}: reads pictures of {height}x{width} pixels; {KIND} reads squares")
    return height


def require_contract(graph: GraphProto, config: OnnxGraphConfig, name: str) -> None:
    """Raise CheckpointError unless a graph has one float32 picture as its input and one output."""
    (value,) = fed_inputs(graph)
    kind = value.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        known = kind.elem_type in TensorProto.DataType.values()
        given = TensorProto.DataType.Name(kind.elem_type).lower() if known else f"type {kind.elem_type}"
        raise CheckpointError(
            f"{name}: reads {given}; {KIND} reads float32: export it in that type, before it is quantized or halved"
        )
    sizes, side, channels = [dim.dim_value for dim in kind.shape.dim], config.image_size, config.channel_count
    wanted = {"nchw": [1, channels, side, side], "nhwc": [1, side, side, channels]}
    fitting = [layout for layout, shape in wanted.items() if _fits(sizes, shape)]
    if config.layout not in fitting:
        advice = f"`layout` {fitting[0]} fits it" if fitting else "give `size`, `channels` and `layout` that fit it"
        shown = f"{[size or 'N' for size in sizes]}, not {['N', *wanted[config.layout][1:]]}"
        raise CheckpointError(f"{name}: reads {shown}; {advice}")
    if len(graph.output) != 1:
        raise CheckpointError(f"{name}: has {len(graph.output)} outputs; {KIND} has one, its logits")


def _fits(sizes: Sequence[int], shape: Sequence[int]) -> bool:
    """Return True for the same axes, of which those of size 0 are open."""
    return len(sizes) == len(shape) and all(given in (0, size) for given, size in zip(sizes, shape, strict=True))


def _front(config: OnnxGraphConfig) -> tuple[list[NodeProto], dict[str, NDArray[Any]]]:
    """Return the nodes from bytes to what the network reads, and their constants."""
    constants: dict[str, NDArray[Any]] = {
        "pixel_scale": np.asarray(config.pixel_scale, np.float32),
        "pixel_mean": np.asarray(config.image_mean, np.float32),
        "pixel_std": np.asarray(config.image_std, np.float32),
    }
    nodes = [helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT)]
    if config.channels == "grey":
        constants |= {"luma": np.array(LUMA, np.float32), "last_axis": np.array([3])}
        nodes.append(helper.make_node("Mul", ["pixels", "luma"], ["weighted"]))
        nodes.append(helper.make_node("ReduceSum", ["weighted", "last_axis"], ["ordered"], keepdims=1))
    if config.channels == "bgr":
        constants["blue_first"] = np.array([2, 1, 0])
        nodes.append(helper.make_node("Gather", ["pixels", "blue_first"], ["ordered"], axis=3))
    nodes.append(helper.make_node("Div", [nodes[-1].output[0], "pixel_scale"], ["scaled"]))
    nodes.append(helper.make_node("Sub", ["scaled", "pixel_mean"], ["centred"]))
    nodes.append(helper.make_node("Div", ["centred", "pixel_std"], ["normalised"]))
    if config.layout == "nchw":
        nodes.append(helper.make_node("Transpose", ["normalised"], ["channels_first"], perm=[0, 3, 1, 2]))
    return nodes, constants


def _newer(user: ModelProto, name: str) -> ModelProto:
    """Bring a graph to `INT8_OPSET`, or leave it as it is where the converter cannot."""
    try:
        newer = with_opset(user, INT8_OPSET, name)
        onnx.checker.check_model(newer, full_check=True)
    except (CheckpointError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return user
    return newer


def _ends_in_sigmoid(graph: GraphProto) -> bool:
    """Return whether the output is a Sigmoid, whatever changes its shape behind."""
    makers = {output: node for node in graph.node for output in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in SHAPE_CHANGES:
        node = makers.get(node.input[0])
    return node is not None and node.op_type in ("Sigmoid", "HardSigmoid")


def _is_distribution(rows: NDArray[np.float32]) -> bool:
    return bool((rows >= 0).all() and np.allclose(rows.sum(-1), 1, atol=1e-4))
