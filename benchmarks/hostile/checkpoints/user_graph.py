"""``network.onnx`` of a checkpoint, a user's own graph: checked, joined with pixels and run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from emo_edge.benchmarks.hostile.mutate import mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.export.configs.networks import OnnxGraphConfig
from emo_edge.export.user_graphs.label_graph import LABEL_GRAPH_NAME, LabelGraph

SIDE, LABELS, CHANNELS = 16, 7, 4
CONFIG = OnnxGraphConfig(
    architecture="onnx_graph", image_size=SIDE, outputs=LABELS, image_mean=(0.5, 0.5, 0.5), image_std=(0.2, 0.2, 0.2)
)


def _graphs() -> Sequence[bytes]:
    """Write a small network as PyTorch's exporters do, of an opset that is converted and of a new one."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(0, 0.1, (CHANNELS, 3, 3, 3)).astype(np.float32),
        "matrix": rng.normal(0, 1, (LABELS, CHANNELS)).astype(np.float32),
        "bias": rng.normal(0, 1, LABELS).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["map"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["map"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "labels",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", LABELS])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return [
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()
        for opset in (12, 20)
    ]


def _read(path: Path) -> None:
    LabelGraph(path.read_bytes(), CONFIG, LABELS, threads=1)


USER_GRAPH = Kind(LABEL_GRAPH_NAME, _graphs, mutated_bytes, _read)
