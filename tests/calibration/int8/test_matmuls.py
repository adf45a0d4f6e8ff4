"""Which nodes INT8 takes, and the blocks they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, helper, numpy_helper

from emo_edge.calibration.int8.matmuls import block_of, blocks, matmuls, residual_sums


def graph_of(nodes: list[Any], **weights: tuple[int, ...]) -> GraphProto:
    constants = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    return helper.make_graph(nodes, "hand_written", [], [], constants)


def test_a_product_has_one_activation_and_one_constant_weight() -> None:
    graph = graph_of(
        [
            helper.make_node("Conv", ["x", "kernel", "bias"], ["a"], name="conv"),
            helper.make_node("Gemm", ["a", "wide"], ["b"], name="gemm"),
            helper.make_node("Gemm", ["b", "wide"], ["c"], name="turned", transB=1),
            helper.make_node("MatMul", ["c", "wide"], ["d"]),
            helper.make_node("MatMul", ["c", "d"], ["attention"]),
            helper.make_node("MatMul", ["wide", "d"], ["weight_first"]),
            helper.make_node("MatMul", ["d", "stacked"], ["three_axes"]),
            helper.make_node("Gemm", ["d", "wide"], ["transposed_input"], transA=1),
        ],
        kernel=(4, 3, 2, 2),
        bias=(4,),
        wide=(5, 6),
        stacked=(2, 5, 6),
    )
    found = {matmul.node: (matmul.activation, matmul.weight, matmul.axis, matmul.size) for matmul in matmuls(graph)}
    assert found == {
        "conv": ("x", "kernel", 0, 48),
        "gemm": ("a", "wide", 1, 30),
        "turned": ("b", "wide", 0, 30),
        "d": ("c", "wide", 1, 30),
    }


@pytest.mark.parametrize(
    ("parameter", "block"),
    [
        ("1.blocks.0.norm1.weight", "blocks.0"),
        ("blocks.12.attn.q_bias_fp16", "blocks.12"),
        ("1.patch_embed.proj.weight", "patch_embed.proj"),
        ("face.backbone.0.1.0.mlp.3.bias", "face.backbone.0.1.0"),
        ("vlm_att_encoder.bert.encoder.layer.2.output_query.dense.bias", "vlm_att_encoder.bert.encoder.layer.2"),
        ("mm_projector.2.bias", "mm_projector.2"),
        ("vlm_att_projector.bias", "vlm_att_projector"),
        ("val_17", None),
    ],
)
def test_a_block_is_a_parameters_path_to_the_first_number(parameter: str, block: str | None) -> None:
    assert block_of(parameter) == block


def test_a_product_belongs_where_its_weight_or_bias_does_else_where_the_last_parameter_read_does() -> None:
    graph = graph_of(
        [
            helper.make_node("MatMul", ["x", "val_0"], ["a"]),
            helper.make_node("LayerNormalization", ["a", "blocks.0.norm.weight"], ["b"]),
            helper.make_node("MatMul", ["b", "val_1"], ["c"]),
            helper.make_node("MatMul", ["c", "val_1"], ["d"]),
            helper.make_node("Add", ["d", "blocks.1.proj.bias"], ["e"]),
            helper.make_node("MatMul", ["e", "head.fc.weight"], ["f"]),
        ],
        **{"val_0": (2, 2), "val_1": (2, 2), "blocks.0.norm.weight": (2,), "blocks.1.proj.bias": (2,)},
        **{"head.fc.weight": (2, 2)},
    )
    assert blocks(graph) == {"start": ("a",), "blocks.0": ("c",), "blocks.1": ("d",), "head.fc": ("f",)}


def test_a_residual_sum_has_two_activations() -> None:
    nodes = [helper.make_node("Add", ["x", "bias"], ["a"]), helper.make_node("Add", ["x", "a"], ["b"])]
    assert residual_sums(graph_of(nodes, bias=(2,))) == ["b"]
