"""ONNX graphs: checked as a bundle's reader does, and what passes is loaded and run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from emo_edge.benchmarks.hostile.mutate import mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.errors import BundleError
from emo_edge.graphs.bounds import check_graph_file
from emo_edge.telemetry import open_onnxruntime

FATAL = 4


def _graphs() -> Sequence[bytes]:
    """Write a graph of the operators whose sizes follow from numbers: a convolution, and arithmetic on shapes."""
    constants = {
        "kernel": np.ones((4, 3, 3, 3), np.float32),
        "first": np.array([0]),
        "rest": np.array([4, -1]),
        "four": np.array([4]),
        "weight": np.ones((196, 8), np.float32),
        "margin": np.array([0, 0, 0, 0, 0, 1]),
        "twice": np.array([1, 1, 2]),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels", "kernel"], ["map"], pads=[0, 0, 0, 0]),
        helper.make_node("Shape", ["image"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["count"]),
        helper.make_node("Concat", ["count", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["map", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["product"]),
        helper.make_node("Softmax", ["product"], ["soft"], axis=-1),
        helper.make_node("Concat", ["count", "four", "four"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["zeros"]),
        helper.make_node("MatMul", ["zeros", "soft"], ["mixed"]),
        helper.make_node("Pad", ["mixed", "margin"], ["padded"]),
        helper.make_node("Tile", ["padded", "twice"], ["tiled"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 16, 16, 3])],
        [helper.make_tensor_value_info("tiled", TensorProto.FLOAT, ["N", None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return [model.SerializeToString()]


def _read(path: Path) -> None:
    try:
        check_graph_file(path)
    except ValueError as error:
        raise BundleError(str(error)) from error
    onnxruntime = open_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = FATAL, 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session.run(None, {"image": np.zeros((1, 16, 16, 3), np.float32)})
    except MemoryError:
        raise
    except Exception as error:  # ONNX Runtime has a class for each of its statuses, of no common parent
        raise BundleError(str(error)) from error


GRAPH = Kind("graph.onnx", _graphs, mutated_bytes, _read)
