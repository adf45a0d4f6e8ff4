"""Graphs that no engine should load: refused by reading, before ONNX Runtime computes what they ask for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from emo_edge.graphs.bounds import check_graph, check_graph_file, run_cost

IMAGE = ("image", ["N", 4, 4, 3])


def model_of(
    nodes: Sequence[NodeProto], constants: dict[str, Any] | None = None, image: tuple[str, list[Any]] = IMAGE
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(image[0], TensorProto.FLOAT, image[1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def node(operator: str, inputs: str, outputs: str = "out", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def body() -> GraphProto:
    flag = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    given = helper.make_tensor_value_info("cond", TensorProto.BOOL, [])
    return helper.make_graph([node("Identity", "cond", "again")], "body", [count, given], [flag])


def broadcast_chain() -> ModelProto:
    nodes = [
        node("Reshape", "image row", "a"),
        node("Reshape", "image column", "b"),
        node("Add", "a b", "c"),
        node("Reshape", "c long", "d"),
        node("Transpose", "d", "e", perm=[1, 0]),
        node("Add", "d e", "f"),
        node("Reshape", "f long", "g"),
        node("Transpose", "g", "h", perm=[1, 0]),
        node("Add", "g h"),
    ]
    shapes = {"row": np.array([1, -1]), "column": np.array([-1, 1]), "long": np.array([-1, 1])}
    return model_of(nodes, shapes, ("image", [64, 64]))


def declared_large() -> ModelProto:
    model = model_of([node("Add", "image w")])
    model.graph.initializer.append(TensorProto(name="w", dims=[1 << 20, 1 << 20], data_type=TensorProto.FLOAT))
    return model


def with_function() -> ModelProto:
    model = model_of([node("Identity", "image")])
    model.functions.append(
        helper.make_function("own", "f", ["x"], ["y"], [node("Relu", "x", "y")], [helper.make_opsetid("", 20)])
    )
    return model


def doubled_dims() -> ModelProto:
    """A tensor attribute that stands twice, whose dims a parser joins."""
    part = NodeProto(op_type="Constant", output=["c"])
    part.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(2, np.float32))))
    twice = AttributeProto.FromString(part.attribute[0].SerializeToString() * 2)
    part.attribute[0].CopyFrom(twice)
    return model_of([part, node("Add", "image c")])


LARGE = np.array([1 << 10, 1 << 20])
HOSTILE = {
    "an endless loop": (
        lambda: model_of([node("Loop", "n c", "out", body=body())], {"n": np.array(2**63 - 1), "c": np.array(True)}),
        "with a graph or a list of tensors inside",
    ),
    "a condition": (
        lambda: model_of([node("If", "c", "out", then_branch=body(), else_branch=body())], {"c": np.array(True)}),
        "with a graph or a list of tensors inside",
    ),
    "a sequence": (lambda: model_of([node("SequenceEmpty", "", "s")]), "an operator that no graph of ours holds"),
    "an optional": (lambda: model_of([node("Optional", "image")]), "an operator that no graph of ours holds"),
    "random numbers": (
        lambda: model_of([node("RandomNormal", "", "out", shape=[1 << 20, 1 << 20])]),
        "an operator that no graph of ours holds",
    ),
    "another domain": (
        lambda: model_of([helper.make_node("Attention", ["image"], ["out"], domain="com.microsoft")]),
        "of the domain 'com.microsoft'",
    ),
    "a function": (with_function, "functions"),
    "a constant of 4 GB": (lambda: model_of([node("ConstantOfShape", "s")], {"s": LARGE}), "GB of memory"),
    "a computed constant of 4 GB": (
        lambda: model_of([node("Mul", "s s", "t"), node("ConstantOfShape", "t")], {"s": np.array([1 << 8, 1 << 8])}),
        "GB of memory",
    ),
    "expanded": (lambda: model_of([node("Expand", "one s")], {"one": np.float32([[1]]), "s": LARGE}), "GB of memory"),
    "tiled": (
        lambda: model_of([node("Tile", "image t")], {"t": np.array([1, 1 << 12, 1 << 12, 1])}),
        "GB of memory",
    ),
    "a range": (
        lambda: model_of([node("Range", "a b c")], {"a": np.int64(0), "b": np.int64(2**62), "c": np.int64(1)}),
        "GB of memory",
    ),
    "padded": (
        lambda: model_of([node("Pad", "image p")], {"p": np.array([0, 0, 0, 0, 0, 1 << 14, 1 << 14, 0])}),
        "GB of memory",
    ),
    "resized": (
        lambda: model_of(
            [helper.make_node("Resize", ["image", "", "s"], ["out"])], {"s": np.float32([1, 9e3, 9e3, 1])}
        ),
        "GB of memory",
    ),
    "a large convolution": (
        lambda: model_of([node("Conv", "image k", pads=[1 << 14] * 4)], {"k": np.ones((9, 4, 1, 1), np.float32)}),
        "GB of memory",
    ),
    "a chain of broadcasts": (broadcast_chain, "GB of memory"),
    "more of the largest than there are": (
        lambda: model_of([node("TopK", "image k", "out place")], {"k": np.array([1 << 40])}),
        "the largest [1099511627776] of 3",
    ),
    "grows with the pictures": (
        lambda: model_of(
            [
                node("Shape", "image", "s", start=0, end=1),
                *(node("Mul", f"{a} {a}", b) for a, b in zip(("s", "p", "q", "r"), ("p", "q", "r", "t"), strict=True)),
                node("ConstantOfShape", "t"),
            ]
        ),
        "4 picture(s)",
    ),
    "work without end": (
        lambda: model_of(
            [
                node("Transpose", "image", "t", perm=[1, 0]),
                node("MatMul", "image t", "a"),
                *(node("MatMul", "a a", f"b{place}") for place in range(200)),
            ],
            None,
            ("image", [4096, 8]),
        ),
        "operations on",
    ),
    "a weight that is not there": (declared_large, "with 0 bytes"),
    "a negative axis": (
        lambda: model_of([node("ConstantOfShape", "s")], {"s": np.array([-1, 2])}),
        "a shape [-1, 2]",
    ),
    "a tensor that stands twice": (doubled_dims, "a constant"),
    "a size that only a run gives": (
        lambda: model_of(
            [node("ReduceSum", "image", "n", keepdims=0), node("Cast", "n", "i", to=7), node("ConstantOfShape", "i")]
        ),
        "follows from values that only a run gives",
    ),
    "an input of any size": (
        lambda: model_of([node("Relu", "image")], None, ("image", ["N", 1 << 20, 1 << 20, 3])),
        "GB",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_refused_by_reading(name: str) -> None:
    build, reason = HOSTILE[name]
    start = time.process_time()
    content = build().SerializeToString()
    assert len(content) < 20_000
    with pytest.raises(ValueError) as caught:
        check_graph(content)
    assert reason in str(caught.value) and len(str(caught.value)) < 300
    assert time.process_time() - start < 2


def test_a_plain_graph_is_measured() -> None:
    model = model_of([node("Conv", "image k", pads=[1, 1, 1, 1])], {"k": np.ones((2, 4, 3, 3), np.float32)})
    cost = run_cost(check_graph(model.SerializeToString()), 1)
    assert cost.operations == 2 * (2 * 4 * 3) * (4 * 3 * 3)
    assert cost.moved == 4 * (4 * 4 * 3 + 2 * 4 * 3)


def test_weights_in_int8_count_as_the_file_that_holds_them() -> None:
    """INT8 of a tower of a billion weights asks for no memory of its own; what is computed of other values does."""
    weights = {f"w{i}": np.zeros((48, 48), np.int8) for i in range(8)}
    constants = {**weights, "scale": np.float32(1), "row": np.array([-1, 48])}
    nodes = [node("DequantizeLinear", f"w{i} scale", f"f{i}") for i in range(8)]
    nodes += [node("Transpose", "f0", "t0", perm=[1, 0]), node("Reshape", "image row", "x0")]
    nodes += [node("MatMul", f"x{i} {'t0' if i == 0 else f'f{i}'}", f"x{i + 1}") for i in range(8)]
    nodes += [node("Identity", "x8")]
    cost = run_cost(check_graph(model_of(nodes, constants).SerializeToString()), 1)
    assert cost.peak < 2 * 4 * 48 * 48, "one transposed weight at a time"
    grown = [node("ConstantOfShape", "size", "w"), node("DequantizeLinear", "w scale", "f"), node("Add", "image f")]
    value = numpy_helper.from_array(np.zeros(1, np.int8))
    grown[0].attribute.append(helper.make_attribute("value", value))
    with pytest.raises(ValueError, match="GB of memory"):
        check_graph(model_of(grown, {"size": np.array([1 << 30]), "scale": np.float32(1)}).SerializeToString())


def test_the_largest_along_an_axis_are_as_many_as_are_asked_for() -> None:
    model = model_of([node("TopK", "image k", "largest place", axis=1), node("Relu", "largest")], {"k": np.array([2])})
    cost = run_cost(check_graph(model.SerializeToString()), 1)
    assert cost.moved == 4 * (4 * 4 * 3 + 3 * 2 * 4 * 3)


def test_external_weights_are_compared_with_their_file(tmp_path: Path) -> None:
    model = model_of([node("Add", "image w")], {"w": np.ones((1, 4, 4, 3), np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "g.data"), ("offset", "64"), ("length", "192")):
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "g.onnx"
    path.write_bytes(model.SerializeToString())
    (tmp_path / "g.data").write_bytes(bytes(256))
    check_graph_file(path)
    (tmp_path / "g.data").write_bytes(bytes(255))
    with pytest.raises(ValueError, match="192 bytes that lies at 64 in a file of 255"):
        check_graph_file(path)
    tensor.external_data[2].value = "9" * 30
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="an external offset or length"):
        check_graph_file(path)
