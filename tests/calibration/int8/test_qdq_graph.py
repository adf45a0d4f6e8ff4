"""Q/DQ graphs: what is written, that it computes as the numbers say, and that ONNX Runtime's own writer agrees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from emo_edge.calibration.int8 import graph_files
from emo_edge.calibration.int8.graph_files import GraphRun, load_graph
from emo_edge.calibration.int8.qdq_graph import int8_from_float, int8_weight
from emo_edge.calibration.int8.ranges import gather_ranges
from emo_edge.errors import CheckpointError, InputError
from emo_edge.tensors import Tensor

RNG = np.random.default_rng(0)


def run(path: Path, x: Tensor) -> Tensor:
    (value,) = GraphRun(load_graph(path), path.parent, 1).run({"x": x}).values()
    return value


def rounded(values: Tensor, threshold: float) -> Tensor:
    """Quantize and back, as the words say."""
    step = np.float32(threshold) / np.float32(127)
    return np.clip(np.rint(values / step), -128, 127) * step


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_has_one_scale_a_channel(dtype: Any, axis: int) -> None:
    weight = (RNG.normal(size=(6, 5)) * np.arange(5)).astype(dtype)
    values, scales = int8_weight(weight, axis)
    rows = weight.astype(np.float64) if axis == 0 else weight.astype(np.float64).T
    found = (values if axis == 0 else values.T) * scales.astype(np.float64)[:, None]
    assert values.dtype == np.int8
    assert scales.dtype == dtype
    assert scales.shape == (weight.shape[axis],)
    assert (np.abs(found - rows) <= 0.51 * scales.astype(np.float64)[:, None]).all()
    assert np.abs(values).max() == 127


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_channel_of_zeros_or_next_to_zeros_keeps_a_normal_scale(dtype: Any) -> None:
    weight = np.array([[0, 0], [1e-7, -1e-7], [1, 2]]).astype(dtype)
    values, scales = int8_weight(weight, 0)
    assert (scales >= np.finfo(dtype).tiny).all()
    assert np.abs(values[0]).max() == 0
    assert np.abs(values * scales[:, None] - weight).max() <= 2 / 127


NODES = {
    "MatMul": ([helper.make_node("MatMul", ["x", "w"], ["product"])], (4, 6), (5, 4), (5, 6)),
    "Gemm": ([helper.make_node("Gemm", ["x", "w", "b"], ["product"])], (4, 6), (4,), (6,)),
    "turned Gemm": ([helper.make_node("Gemm", ["x", "w", "b"], ["product"], transB=1)], (6, 4), (4,), (6,)),
    "Conv": (
        [helper.make_node("Conv", ["x", "w", "b"], ["product"], strides=[2, 2])],
        (6, 3, 2, 2),
        (3, 8, 8),
        (6, 4, 4),
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_a_product_computes_with_rounded_numbers_and_a_float_bias(write_graph: Any, tmp_path: Path, name: str) -> None:
    nodes, weight, shape, result = NODES[name]
    axis = 0 if name in ("Conv", "turned Gemm") else 1
    constants = {"w": RNG.normal(size=weight).astype(np.float32), "b": RNG.normal(size=6).astype(np.float32)}
    if name == "MatMul":
        del constants["b"]
    source = write_graph(tmp_path / "a.onnx", nodes, constants, shape=shape, output="product", result=result)
    x = RNG.normal(size=(3, *shape)).astype(np.float32)
    made = int8_from_float(source, tmp_path / "b.onnx", {"x": 2.0})
    values, scales = int8_weight(constants["w"], axis)
    spread = [-1 if place == axis else 1 for place in range(values.ndim)]
    plain = {**constants, "w": values * scales.reshape(spread)}
    reference = write_graph(tmp_path / "c.onnx", nodes, plain, shape=shape, output="product", result=result)
    expected = run(reference, rounded(x, 2.0))
    assert (made.quantized, made.kept) == (("product",), ())
    assert np.abs(run(made.files[0], x) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_types_zero_points_and_readers_are_as_promised(write_tower: Any, tmp_path: Path) -> None:
    source = write_tower(tmp_path / "a.onnx", depth=2)
    names = ("normed_0", "gelu_0", "normed_1", "gelu_1")
    made = int8_from_float(source, tmp_path / "b.onnx", dict.fromkeys(names, 3.0), keep={"up_1"})
    assert made.quantized == ("up_0", "down_0", "down_1")
    assert made.kept == ("up_1",)
    assert made.nbytes == (tmp_path / "b.onnx").stat().st_size < source.stat().st_size
    graph = onnx.load(made.files[0]).graph
    counts = Counter(node.op_type for node in graph.node)
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (3, 6)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zeros = [values for name, values in constants.items() if name.endswith("_zero")]
    assert len(zeros) == 6
    assert all(values.dtype == np.int8 and not values.any() for values in zeros)
    assert constants["blocks.0.up.weight_int8_1"].dtype == np.int8
    assert not {"blocks.0.up.weight", "blocks.0.down.weight"} & set(constants)
    (kept,) = [node for node in graph.node if node.name == "up_1"]
    assert list(kept.input) == ["normed_1", "blocks.1.up.weight"]
    # The residual stream reads what it read.
    assert [list(node.input) for node in graph.node if node.output[0] == "stream_0"] == [["x", "down_0"]]


def test_products_that_share_an_activation_or_a_weight_share_its_numbers(write_graph: Any, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "w"], ["b"]),
        helper.make_node("Gemm", ["a", "w"], ["c"], transB=1),
        helper.make_node("Add", ["b", "c"], ["features"]),
    ]
    source = write_graph(tmp_path / "a.onnx", nodes, {"w": RNG.normal(size=(4, 4)).astype(np.float32)}, shape=(4,))
    path = int8_from_float(source, tmp_path / "b.onnx", {"x": 1.0, "a": 2.0}).files[0]
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (2, 4)
    assert np.isfinite(run(path, np.ones((2, 4), np.float32))).all()


def half(source: Path, path: Path) -> Path:
    """Cast the one product of a graph to float16, as the exporter does."""
    model = onnx.load(source)
    (weight,) = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    nodes = [
        helper.make_node("Cast", ["x"], ["x_fp16"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["x_fp16", "w_fp16"], ["product_fp16"], name="product"),
        helper.make_node("Cast", ["product_fp16"], ["product"], to=TensorProto.FLOAT),
    ]
    for field, values in (("node", nodes), ("initializer", [numpy_helper.from_array(weight.astype("f2"), "w_fp16")])):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(values)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_float16_form_takes_the_float32_forms_ranges_and_has_float16_scales(
    write_graph: Any, tmp_path: Path
) -> None:
    nodes, weight, shape, result = NODES["MatMul"]
    constants = {"w": RNG.normal(size=weight).astype(np.float32)}
    source = write_graph(tmp_path / "a.onnx", nodes, constants, shape=shape, output="product", result=result)
    small = int8_from_float(half(source, tmp_path / "h.onnx"), tmp_path / "b.onnx", {"x": 4.0}).files[0]
    types = {tensor.name: tensor.data_type for tensor in onnx.load(small).graph.initializer}
    assert {name: kind for name, kind in types.items() if name.endswith("_scale")} == {
        "x_fp16_scale": TensorProto.FLOAT16,
        "w_fp16_int8_1_scale": TensorProto.FLOAT16,
    }
    x = RNG.normal(size=(3, *shape)).astype(np.float32)
    full = int8_from_float(source, tmp_path / "c.onnx", {"x": 4.0}).files[0]
    assert np.abs(run(small, x) - run(full, x)).max() <= 0.02 * np.abs(run(full, x)).max()


def ort_int8(source: Path, thresholds: dict[str, float]) -> onnx.ModelProto:
    """Quantize with ONNX Runtime's writer, told to leave results and biases alone."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ranges = {
        name: TensorData(lowest=np.float32(-value), highest=np.float32(value)) for name, value in thresholds.items()
    }
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "DedicatedQDQPair": True,
        "OpTypesToExcludeOutputQuantization": ["MatMul"],
        "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
    }
    data = TensorsData(CalibrationMethod.MinMax, ranges)
    kinds = (QuantType.QInt8.tensor_type, QuantType.QInt8.tensor_type)
    writer = QDQQuantizer(onnx.load(source), True, False, *kinds, data, [], [], ["MatMul"], options)
    writer.quantize_model()
    model: onnx.ModelProto = writer.model.model
    return model


def test_onnx_runtimes_writer_gives_the_same_numbers(write_tower: Any, tower_feeds: Any, tmp_path: Path) -> None:
    source = write_tower(tmp_path / "a.onnx", depth=3)
    thresholds = gather_ranges(source, tower_feeds(16), threads=1).thresholds("max")
    ours = int8_from_float(source, tmp_path / "b.onnx", thresholds).files[0]
    theirs = ort_int8(source, thresholds)
    numbers = [
        sorted(numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer if len(tensor.dims) == 2)
        for model in (onnx.load(ours), theirs)
    ]
    assert numbers[0] == numbers[1]
    x = tower_feeds(4)[0]["x"]
    other = GraphRun(theirs, tmp_path, 1).run({"x": x})["features"]
    assert np.abs(run(ours, x) - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("limit", [10**9, 1])
def test_large_weights_are_taken_from_and_put_beside_the_graph(
    write_tower: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(graph_files, "EXTERNAL_BYTES", limit)
    source, beside = write_tower(tmp_path / "a.onnx", depth=2), tmp_path / "beside.onnx"
    onnx.save_model(onnx.load(source), beside, save_as_external_data=True, location="weights", size_threshold=64)
    thresholds = dict.fromkeys(("normed_0", "gelu_0", "normed_1", "gelu_1"), 3.0)
    plain = int8_from_float(source, tmp_path / "b.onnx", thresholds, keep={"up_0"})
    made = int8_from_float(beside, tmp_path / "c.onnx", thresholds, keep={"up_0"})
    assert [path.name for path in made.files] == (["c.onnx"] if limit > 1 else ["c.onnx", "c.onnx.data"])
    x = RNG.normal(size=(2, 9, 32)).astype(np.float32)
    assert np.array_equal(run(made.files[0], x), run(plain.files[0], x))


def test_the_same_ranges_give_the_same_bytes(write_tower: Any, tmp_path: Path) -> None:
    source = write_tower(tmp_path / "a.onnx", depth=1)
    thresholds = {"normed_0": 3.0, "gelu_0": 0.0}
    one, two = (int8_from_float(source, tmp_path / name, thresholds).files[0] for name in ("b.onnx", "c.onnx"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "c.onnx"]


def test_bad_input_is_refused_before_anything_is_written(write_tower: Any, write_graph: Any, tmp_path: Path) -> None:
    source, target = write_tower(tmp_path / "a.onnx", depth=1), tmp_path / "b.onnx"
    good = {"normed_0": 3.0, "gelu_0": 1.0}
    for thresholds, message in (
        ({"normed_0": 3.0}, "activation gelu_0: has no range; gather the ranges"),
        ({**good, "gelu_0": float("nan")}, "activation gelu_0: nan cannot be a threshold"),
        ({**good, "gelu_0": -1.0}, r"activation gelu_0: -1\.0 cannot be a threshold"),
    ):
        with pytest.raises(InputError, match=message):
            int8_from_float(source, target, thresholds)
    with pytest.raises(InputError, match=r"up_7: no matmul of a\.onnx, so nothing to keep"):
        int8_from_float(source, target, good, keep={"up_7"})
    nodes, weight, shape, result = NODES["MatMul"]
    where = {"shape": shape, "output": "product", "result": result}
    old = write_graph(tmp_path / "old.onnx", nodes, {"w": np.ones(weight, np.float32)}, opset=12, **where)
    with pytest.raises(CheckpointError, match="opset 12 is too old for INT8: export with 13 or later"):
        int8_from_float(old, target, {"x": 1.0})
    bad = write_graph(tmp_path / "bad.onnx", nodes, {"w": np.full(weight, np.nan, np.float32)}, **where)
    with pytest.raises(CheckpointError, match=r"bad\.onnx: weight w of product is not finite"):
        int8_from_float(bad, target, {"x": 1.0})
    assert not target.exists()
    target.write_text("mine")
    with pytest.raises(CheckpointError, match=r"b\.onnx: already exists; remove it"):
        int8_from_float(source, target, good)
    assert target.read_text() == "mine"
