"""Checks of a user's ONNX graph, and what joining it with pixels needs, whatever it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

OLDEST_OPSET = 13
"""Older graphs are brought to it."""
PREFIX = "user/"
OWN_DOMAINS = ("", "ai.onnx")


def plain_graph(content: bytes, name: str, kind: str, side: int) -> ModelProto:
    """Parse an untrusted file: plain ONNX operators and weights inside it.

    Args:
        content: the file.
        name: of it, for errors.
        kind: of the network, with its article, for errors.
        side: of the pictures in pixels, where the graph leaves it open.

    Raises CheckpointError for anything else.
    """
    try:
        check_graph(content, side)
        model = ModelProto.FromString(content)
        # Before the checker, which would look for files next to it.
        problems = list(_not_plain(model))
        if not problems:
            onnx.checker.check_model(model)
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise CheckpointError(f"{name}: no usable ONNX graph: {reason(error)}") from error
    if problems:
        raise CheckpointError(f"{name}: {kind} is one plain graph with one input, this has {problems[0]}")
    return model if opset_of(model) >= OLDEST_OPSET else with_opset(model, OLDEST_OPSET, name)


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's own operators that a graph uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in OWN_DOMAINS), 1)


def with_opset(model: ModelProto, version: int, name: str) -> ModelProto:
    """Bring a graph to a newer version of the operators; raise CheckpointError where the converter cannot."""
    try:
        return version_converter.convert_version(model, version)
    except Exception as error:  # the converter names an operator it does not know in a plain RuntimeError
        raise CheckpointError(
            f"{name}: opset {opset_of(model)} cannot be brought to {version}: {reason(error)}; export it anew"
        ) from error


def fed_inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """Return what is fed; graphs of old versions list their weights as inputs, too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def behind_pixels(
    user: ModelProto,
    side: int,
    front: Sequence[NodeProto],
    back: Sequence[NodeProto],
    constants: dict[str, NDArray[Any]],
    output: str,
    *others: str,
) -> ModelProto:
    """Put nodes before and behind a user's graph: ``image``, uint8 RGB [N, side, side, 3], to ``output`` [N, ...].

    Args:
        user: the graph; its names get a prefix.
        side: of the pictures in pixels.
        front: nodes from ``image`` on; the last one gives what the graph is fed.
        back: nodes behind it, the first of which reads the graph's first output; they give ``output`` and ``others``.
        constants: of those nodes, by name.
        output: name of the result, float32 of two axes.
        others: names of further results of that kind.
    """
    own = compose.add_prefix(user, PREFIX).graph
    (fed,), given = fed_inputs(own), own.output[0].name
    front[-1].output[0], back[0].input[0] = fed.name, given
    nodes = [*front, *(node for node in own.node if node.op_type != "Constant"), *back]
    lifted = [_lifted(node) for node in own.node if node.op_type == "Constant"]
    tensors = [*(numpy_helper.from_array(value, key) for key, value in constants.items()), *own.initializer, *lifted]
    shape: list[int | str] = ["N", side, side, 3]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)]
    outputs = [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["N", None]) for one in (output, *others)]
    graph = helper.make_graph(nodes, output, inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=list(user.opset_import), ir_version=max(user.ir_version, 8))
    onnx.checker.check_model(model, full_check=True)
    return model


def open_graph(model: ModelProto, name: str, threads: int | None = None) -> Any:
    """Open a graph in ONNX Runtime on the CPU; raise CheckpointError where it refuses."""
    onnxruntime, options = open_onnxruntime(), session_options(threads)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an exception type for each of its statuses
        raise CheckpointError(f"{name}: ONNX Runtime cannot open it: {reason(error)}") from error


def run_graph(session: Any, feed: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """Return the first output; raise CheckpointError if the graph fails, or gives numbers that are not finite."""
    try:
        outputs = session.run(None, feed)
    except Exception as error:  # see `open_graph`
        count = len(next(iter(feed.values())))
        raise CheckpointError(f"{name}: fails on {count} picture(s): {reason(error)}") from error
    values = np.asarray(outputs[0], np.float32)
    if not np.isfinite(values).all():
        raise CheckpointError(f"{name}: gives numbers that are not finite")
    return values


def measured_outputs(both: NDArray[np.float32], alone: Sequence[NDArray[np.float32]], name: str) -> int:
    """Return the numbers a picture of two pictures run together; a graph of one fixed batch mixes or refuses them."""
    shapes = {one.shape for one in alone}
    fits = both.ndim == 2 and len(both) == len(alone) and shapes == {(1, *both.shape[1:])}
    if not fits or not np.allclose(both, np.concatenate(alone), rtol=1e-3, atol=1e-4):
        raise CheckpointError(f"{name}: reads one picture at a time; export it with a batch axis that varies")
    return int(both.shape[1])


def random_crops(side: int) -> NDArray[np.uint8]:
    """Draw two pictures [2, side, side, 3]."""
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)


def reason(error: Exception) -> str:
    """Return the first line of an error, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]


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
    if len(fed_inputs(graph)) != 1 or not graph.output:
        yield f"{len(fed_inputs(graph))} inputs and {len(graph.output)} outputs"


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from (attribute.t for attribute in _attributes(graph) if attribute.HasField("t"))


def _attributes(graph: GraphProto) -> Iterator[AttributeProto]:
    for node in graph.node:
        yield from node.attribute


def _lifted(node: NodeProto) -> TensorProto:
    """Return a Constant node's value as an initializer, which is what the float16 form knows."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    kind = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return numpy_helper.from_array(np.asarray(value, kind.get(attribute.name)), node.output[0])
