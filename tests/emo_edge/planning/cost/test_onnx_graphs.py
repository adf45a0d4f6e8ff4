"""Work of small graphs against sums by hand, and of emo-tiny's graphs against what its sizes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from emo_edge.bundle.model_shape import known_shape
from emo_edge.errors import CheckpointError, InputError
from emo_edge.planning.cost.onnx_graphs import graph_work, model_work
from emo_edge.planning.cost.stages import connector_work, face_work, vision_work
from emo_edge.planning.cost.work import Work


def model(
    nodes: list[Any], reads: dict[str, list[Any]], makes: dict[str, list[Any]], constants: dict[str, Any] | None = None
) -> onnx.ModelProto:
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (reads, makes)
    )
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def kinds(work: Work) -> list[str]:
    return [node.kind for node in work.nodes]


def test_a_product_with_a_weight() -> None:
    weight = np.zeros((8, 5), np.float32)
    graph = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3, 8]}, {"y": ["N", 3, 5]}, {"w": weight}
    )
    work = model_work(graph, {"N": 2})
    assert work.flops == 2 * (2 * 3) * 8 * 5
    assert work.weight_bytes == 4 * 8 * 5
    assert work.activation_bytes == 4 * (2 * 3 * 8 + 2 * 3 * 5)
    assert kinds(work) == ["matmul"]


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_whichever_side_is_transposed(transposed: int) -> None:
    shape = [8, 3] if transposed else [3, 8]
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transA=transposed, transB=1)
    constants = {"w": np.zeros((5, 8), np.float32), "b": np.zeros(5, np.float32)}
    work = model_work(model([node], {"x": shape}, {"y": [3, 5]}, constants), {})
    assert work.flops == 2 * 3 * 8 * 5
    assert work.weight_bytes == 4 * (5 * 8 + 5)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_with_and_without_groups(groups: int) -> None:
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], group=groups
    )
    weight = np.zeros((8, 4 // groups, 3, 3), np.float32)
    work = model_work(model([node], {"x": ["N", 4, 10, 10]}, {"y": ["N", 8, 5, 5]}, {"w": weight}), {"N": 3})
    assert work.flops == 2 * (3 * 8 * 5 * 5) * (4 // groups) * 9


def test_attention_has_two_products_of_activations_and_a_softmax() -> None:
    heads, tokens, width = 2, 7, 4
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    side: list[Any] = ["N", heads, tokens, width]
    reads = {"q": side, "k": ["N", heads, width, tokens], "v": side}
    work = model_work(model(nodes, reads, {"y": side}), {"N": 3})
    assert kinds(work) == ["attention", "function", "attention"]
    assert work.flops == 2 * 2 * 3 * heads * tokens * tokens * width
    assert work.weight_bytes == 0
    assert work.nodes[1].activation_bytes == 2 * 4 * 3 * heads * tokens * tokens


def test_an_int8_product_counts_its_weight_as_it_is_stored() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
    ]
    constants = {"w": np.zeros((8, 5), np.int8), "s": np.float32(1), "z": np.int8(0)}
    work = model_work(model(nodes, {"x": [3, 8]}, {"y": [3, 5]}, constants), {})
    (product,) = (node for node in work.nodes if node.kind == "matmul")
    assert (product.precision, product.weight_bytes, product.flops) == ("int8", 40, 240)


def test_what_is_known_before_the_run_costs_nothing_and_a_view_moves_nothing() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["m"]),
        helper.make_node("Shape", ["m"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one", "zero"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["m", "wanted"], ["y"]),
    ]
    constants = {
        "w": np.zeros((6, 8), np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
        "rest": np.array([2, 3]),
    }
    work = model_work(model(nodes, {"x": ["N", 8]}, {"y": ["N", 2, 3]}, constants), {"N": 4})
    assert kinds(work) == ["matmul", "view"]
    assert (work.flops, work.weight_bytes) == (2 * 4 * 8 * 6, 4 * 8 * 6)


def test_a_padding_that_follows_from_the_pictures_size_is_known() -> None:
    """Sizes divided, rounded and clipped, as exporters write "same" padding, are floats in between."""
    to = {"float": 1, "int": 7}
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "rows"], ["height"], axis=0),
        helper.make_node("Cast", ["height"], ["pixels"], to=to["float"]),
        helper.make_node("Div", ["pixels", "two"], ["half"]),
        helper.make_node("Ceil", ["half"], ["padding"]),
        helper.make_node("Cast", ["padding"], ["last"], to=to["int"]),
        helper.make_node("Concat", ["none", "last"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("MatMul", ["padded", "w"], ["y"]),
    ]
    constants = {
        "rows": np.array([1]),
        "two": np.array([2.0], np.float32),
        "none": np.zeros(3, np.int64),
        "w": np.zeros((8, 3), np.float32),
    }
    work = model_work(model(nodes, {"x": ["N", 5]}, {"y": ["N", 3]}, constants), {"N": 4})
    assert work.flops == 2 * 4 * 8 * 3, "five columns and ceil(5 / 2) more"


def test_bad_graphs_are_named(tmp_path: Path) -> None:
    graph = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]})
    with pytest.raises(InputError, match="give a size for the axes 'N'"):
        model_work(graph, {"L": 3})
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"broken\.onnx: no ONNX graph"):
        graph_work(broken, {})
    nodes = [helper.make_node("NonZero", ["x"], ["m"]), helper.make_node("Cast", ["m"], ["y"], to=1)]
    unknown = model(nodes, {"x": [3]}, {"y": [1, "K"]})
    with pytest.raises(CheckpointError, match="the shape of m is unknown"):
        model_work(unknown, {})


@pytest.mark.parametrize("batch", [1, 3])
def test_sizes_and_graphs_of_emo_tiny_agree(tiny_bundle: Path, batch: int) -> None:
    shape = known_shape("emo-tiny")
    counted = {
        "vision": vision_work(shape.vision, batch),
        "connector": connector_work(shape.connector, shape.vision, shape.language.width, batch, 37),
        "face": face_work(shape, batch),
    }
    for name, expected in counted.items():
        found = graph_work(tiny_bundle / f"{name}-fp32.onnx", {"N": batch, "L": 37})
        assert expected.flops == pytest.approx(found.flops, rel=0.01), name
        assert expected.weight_bytes == pytest.approx(found.weight_bytes, rel=0.03), name
        assert expected.activation_bytes == pytest.approx(found.activation_bytes, rel=0.15), name
        launches, found_launches = (sum(node.count for node in work.nodes) for work in (expected, found))
        assert launches == pytest.approx(found_launches, rel=0.1), name
        half = graph_work(tiny_bundle / f"{name}-fp16.onnx", {"N": batch, "L": 37})
        assert (half.flops, half.weight_bytes) == (found.flops, pytest.approx(found.weight_bytes / 2, rel=0.01)), name
