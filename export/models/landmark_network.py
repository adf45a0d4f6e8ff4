"""EmoLA's landmark network: an ONNX graph that the user gives, checked, run, and put before the landmark token.

Upstream (``feature_extraction/landmark/landmark_features.py``) stretches the face to the network's square, keeps
OpenCV's order of the colours (blue first), divides by 255 and takes the raw numbers of the first output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    compose,
    helper,
    numpy_helper,
    version_converter,
)

from emo_edge.errors import CheckpointError
from emo_edge.graphs.bounds import check_graph
from emo_edge.runtimes.onnx import session_options
from emo_edge.telemetry import open_onnxruntime

LANDMARKS_NAME = "landmarks.onnx"
"""Name of the user's file in a checkpoint."""
DEFAULT_SIZE = 192
"""Input side of InsightFace's ``2d106det.onnx``, for a graph of no fixed size."""
LARGEST_SIZE = 1024
OLDEST_OPSET = 13
"""Older graphs are brought to it."""
PREFIX = "user/"
OWN_DOMAINS = ("", "ai.onnx")


class LandmarkNetwork:
    """The user's graph from uint8 pixels to raw landmark numbers, open in ONNX Runtime on the CPU.

    Attributes:
        content: the user's file.
        image_size: side of the crops in pixels.
        outputs: how many numbers come out, 212 of InsightFace's network.
        model: the graph from ``image``, uint8 RGB [N, s, s, 3], to ``landmarks``, float32 [N, outputs].
    """

    def __init__(self, content: bytes, name: str = LANDMARKS_NAME) -> None:
        user = _checked(content, name)
        self.content, self.name = content, name
        self.image_size = _image_size(user.graph, name)
        try:
            self.model = _from_pixels(user, self.image_size)
            onnx.checker.check_model(self.model, full_check=True)
        except Exception as error:  # a constant of any odd kind, or shapes that do not fit
            raise CheckpointError(f"{name}: not a graph that can be joined with pixels: {_reason(error)}") from error
        self._session = _session(self.model, name)
        self.outputs = self._measured_outputs()

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw numbers [N, outputs] of uint8 RGB crops [N, s, s, 3].

        Raises CheckpointError if the graph fails, or gives numbers that are not finite.
        """
        try:
            (outputs,) = self._session.run(None, {"image": crops})
        except Exception as error:  # ONNX Runtime has an exception type for each of its statuses
            raise CheckpointError(f"{self.name}: fails on {len(crops)} picture(s): {_reason(error)}") from error
        values = np.asarray(outputs, np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(f"{self.name}: gives numbers that are not finite")
        return values

    def _measured_outputs(self) -> int:
        """Run two pictures, together and alone: a graph of one fixed batch would mix or refuse them."""
        shape = (2, self.image_size, self.image_size, 3)
        crops = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        both, alone = self.run(crops), [self.run(crops[row : row + 1]) for row in range(2)]
        fits = both.ndim == 2 and {one.shape for one in alone} == {(1, *both.shape[1:])}
        if not fits or not np.allclose(both, np.concatenate(alone), rtol=1e-3, atol=1e-4):
            raise CheckpointError(f"{self.name}: reads one picture at a time; export it with a batch axis that varies")
        return int(both.shape[1])


def _checked(content: bytes, name: str) -> ModelProto:
    """Parse an untrusted file: plain ONNX operators and weights inside it, or an error."""
    try:
        check_graph(content, DEFAULT_SIZE)
        model = ModelProto.FromString(content)
        # Before the checker, which would look for files next to it.
        problems = list(_not_plain(model))
        if not problems:
            onnx.checker.check_model(model)
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise CheckpointError(f"{name}: no usable ONNX graph: {_reason(error)}") from error
    if problems:
        raise CheckpointError(f"{name}: a landmark network is one plain graph with one input, this has {problems[0]}")
    version = next((entry.version for entry in model.opset_import if entry.domain in OWN_DOMAINS), 1)
    if version >= OLDEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except Exception as error:  # the converter names an operator it does not know in a plain RuntimeError
        raise CheckpointError(
            f"{name}: opset {version} cannot be brought to {OLDEST_OPSET}: {_reason(error)}; export it anew"
        ) from error


def _not_plain(model: ModelProto) -> Iterator[str]:
    graph = model.graph
    for node in graph.node:
        if any(part.HasField("g") or part.graphs for part in node.attribute):
            yield f"a graph inside {node.op_type}"
    if graph.sparse_initializer or any(part.HasField("sparse_tensor") or part.tensors for part in _attributes(graph)):
        yield "sparse weights or lists of them"
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield f"weights in another file ({tensor.name})"
    if model.functions:
        yield "functions of its own"
    if len(_inputs(graph)) != 1 or not graph.output:
        yield f"{len(_inputs(graph))} inputs and {len(graph.output)} outputs"


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from (attribute.t for attribute in _attributes(graph) if attribute.HasField("t"))


def _attributes(graph: GraphProto) -> Iterator[AttributeProto]:
    for node in graph.node:
        yield from node.attribute


def _inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """Return what is fed; graphs of old versions list their weights as inputs, too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _image_size(graph: GraphProto, name: str) -> int:
    (value,) = _inputs(graph)
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(sizes) != 4 or sizes[1] not in (0, 3) or sizes[2] != sizes[3]:
        raise CheckpointError(f"{name}: reads no float32 pictures [N, 3, s, s] but {sizes}")
    size = sizes[2] or DEFAULT_SIZE
    if not 0 < size <= LARGEST_SIZE:
        raise CheckpointError(f"{name}: reads pictures of {size} pixels a side; a landmark network reads a face")
    return size


def _from_pixels(user: ModelProto, image_size: int) -> ModelProto:
    """Put pixels before the user's graph, and one row a picture behind it."""
    own = compose.add_prefix(user, PREFIX).graph
    (fed,), given = _inputs(own), own.output[0].name
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["channels_first", "blue_first"], [fed.name], axis=1),
        *(node for node in own.node if node.op_type != "Constant"),
        helper.make_node("Flatten", [given], ["landmarks"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.float32(255), "scale"),
        numpy_helper.from_array(np.array([2, 1, 0]), "blue_first"),
        *own.initializer,
        *(_lifted(node) for node in own.node if node.op_type == "Constant"),
    ]
    side: list[int | str] = ["N", image_size, image_size, 3]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, side)]
    outputs = [helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["N", None])]
    graph = helper.make_graph(nodes, "landmarks", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=list(user.opset_import), ir_version=max(user.ir_version, 8))


def _lifted(node: NodeProto) -> TensorProto:
    """Return a Constant node's value as an initializer, which is what the float16 form knows."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    kind = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return numpy_helper.from_array(np.asarray(value, kind.get(attribute.name)), node.output[0])


def _session(model: ModelProto, name: str) -> Any:
    onnxruntime, options = open_onnxruntime(), session_options(None)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see `LandmarkNetwork.run`
        raise CheckpointError(f"{name}: ONNX Runtime cannot open it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]
