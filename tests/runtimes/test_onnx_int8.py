"""Products of bytes on x86 processors without VNNI: exact, whatever the graph, and from an optimised copy too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from emo_edge.runtimes import onnx_int8
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.runtimes.onnx_int8 import open_session, sums_saturate
from emo_edge.tensors import Tensor, TensorSpec

WIDTH = 64
SPEC = TensorSpec("x", "float32", ("N", WIDTH))
AVX2, VNNI = "fpu avx avx2 fma", "fpu avx2 avx512f avx512_vnni"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    sums_saturate.cache_clear()
    yield
    sums_saturate.cache_clear()


@pytest.mark.parametrize(
    ("architecture", "flags", "saturate"),
    [("x86_64", AVX2, True), ("AMD64", VNNI, False), ("x86_64", f"{AVX2} avx_vnni", False), ("aarch64", AVX2, False)],
)
def test_only_x86_without_wide_sums_saturates(
    architecture: str, flags: str, saturate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_int8.platform, "machine", lambda: architecture)
    monkeypatch.setattr(onnx_int8, "read_cpu_entries", lambda: {"flags": [flags, flags]})
    assert sums_saturate() is saturate


def test_a_processor_that_tells_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_int8, "read_cpu_entries", dict)
    assert not sums_saturate()


def write_product(path: Path, weight: Tensor, *, twice: bool) -> None:
    """Write a product with a weight in INT8 and an input that is quantized; ``twice`` multiplies by it once more."""
    constants = {
        "scale": np.float32(1 / 127),
        "zero": np.int8(0),
        "weight": weight,
        "steps": np.full(WIDTH, 1 / 127, np.float32),
        "zeros": np.zeros(WIDTH, np.int8),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["rounded"]),
        node("DequantizeLinear", ["weight", "steps", "zeros"], ["matrix"], axis=1),
        node("MatMul", ["rounded", "matrix"], ["first"]),
        node("MatMul", ["rounded", "matrix"], ["second"]) if twice else node("Identity", ["first"], ["second"]),
        node("Add", ["first", "second"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in "xy"]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product", ports[:1], ports[1:], initializers)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10), path)


@pytest.mark.parametrize("twice", [False, True], ids=["one product", "a shared weight"])
def test_large_products_do_not_saturate(twice: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """127 times 127 twice is more than 16 bits hold where one factor is shifted to a uint8."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weight = np.full((WIDTH, WIDTH), 127, np.int8)
    weight[:, ::2] = -127
    path = tmp_path / "product.onnx"
    write_product(path, weight, twice=twice)
    x = np.ones((3, WIDTH), np.float32)
    expected = 2 * x @ (weight.astype(np.float32) / 127)
    for _ in range(2):  # the second time from the optimised copy
        with OnnxSession(path, [SPEC], [TensorSpec("y", "float32", ("N", WIDTH))], threads=1) as session:
            np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-3)
    assert list((tmp_path / "cache" / "emo-edge" / "graphs").glob("*.onnx"))


def test_a_failure_prints_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", failing)
    with pytest.raises(RuntimeError, match="no memory"):
        open_session(onnxruntime, b"graph", onnxruntime.SessionOptions(), ["CPUExecutionProvider"])
    assert capsys.readouterr().out == ""
