"""OnnxSession on a small hand-written graph: what it refuses, and that nothing falls back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from emo_edge.errors import CheckpointError, DeviceError, InputError
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.sessions import TensorSpec

INPUTS = (TensorSpec("x", "float32", ("N", 2)), TensorSpec("k", "int64", ("N", 1)))
OUTPUTS = (TensorSpec("product", "float32", ("N", 2)), TensorSpec("count", "float32", ("N", 1)))


def value(name: str, kind: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "hand_written", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(
        tmp_path_factory.mktemp("graph") / "product.onnx",
        [
            helper.make_node("Cast", ["k"], ["count"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "count"], ["product"]),
        ],
        [value("x", TensorProto.FLOAT, "batch", 2), value("k", TensorProto.INT64, "batch", 1)],
        [value("product", TensorProto.FLOAT, "batch", 2), value("count", TensorProto.FLOAT, "batch", 1)],
    )


@pytest.mark.parametrize("threads", [None, 1])
def test_outputs_come_by_name_for_any_batch(path: Path, threads: int | None) -> None:
    with OnnxSession(path, INPUTS, OUTPUTS[::-1], threads=threads) as session:
        for batch in (1, 3):
            x, k = np.full((batch, 2), 1.5, np.float32), np.arange(batch)[:, None]
            found = session.run({"k": k, "x": x})
            assert list(found) == ["count", "product"]
            assert found["product"].tolist() == (x * k).tolist()
            assert found["product"].dtype == np.float32


def test_a_feed_that_does_not_fit_is_refused(path: Path) -> None:
    with OnnxSession(path, INPUTS, OUTPUTS) as session, pytest.raises(InputError, match="x is float64"):
        session.run({"x": np.ones((1, 2)), "k": np.ones((1, 1), np.int64)})


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        pytest.param(
            INPUTS[:1], OUTPUTS, r"input k is int64 \[\*, 1\], described as missing$", id="an input not described"
        ),
        pytest.param(
            INPUTS,
            (*OUTPUTS, TensorSpec("sum", "float32", ("N",))),
            r"output sum is missing, described as float32 \[\*\]$",
            id="an output not there",
        ),
        pytest.param(
            (TensorSpec("x", "uint8", ("N", 2)), INPUTS[1]), OUTPUTS, "x is float32 .*, described as uint8", id="dtype"
        ),
        pytest.param(
            (TensorSpec("x", "float32", ("N", 3)), INPUTS[1]), OUTPUTS, r"described as .*\[\*, 3\]", id="size"
        ),
        pytest.param((TensorSpec("x", "float32", (1, 2)), INPUTS[1]), OUTPUTS, r"described as .*\[1, 2\]", id="axis"),
        pytest.param((TensorSpec("x", "float32", ("N",)), INPUTS[1]), OUTPUTS, r"described as .*\[\*\]", id="rank"),
    ],
)
def test_a_file_that_is_not_the_graph_described_is_refused(
    path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], message: str
) -> None:
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}: not the graph described: .*{message}"):
        OnnxSession(path, inputs, outputs)


@pytest.mark.parametrize("content", [None, b"", b"not a graph", "truncated"])
def test_an_unreadable_file_is_named_and_nothing_printed(
    path: Path, tmp_path: Path, content: bytes | str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    if content is not None:
        broken.write_bytes(path.read_bytes()[:-40] if isinstance(content, str) else content)
    with pytest.raises(CheckpointError, match=r"broken\.onnx: ONNX Runtime cannot load this graph"):
        OnnxSession(broken, INPUTS, OUTPUTS)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_device_is_refused(path: Path) -> None:
    with pytest.raises(DeviceError, match="no device 'tpu' here; choose one of cpu, cuda"):
        OnnxSession(path, INPUTS, OUTPUTS, device="tpu")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="waits for a machine without CUDA"
)
def test_missing_cuda_is_an_error_that_names_what_there_is(path: Path) -> None:
    with pytest.raises(DeviceError, match=r"has no CUDAExecutionProvider; it has .*CPUExecutionProvider"):
        OnnxSession(path, INPUTS, OUTPUTS, device="cuda")


def test_running_out_of_memory_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # More than any address space holds.
    endless = saved(
        tmp_path / "endless.onnx",
        [helper.make_node("ConstantOfShape", ["size"], ["zeros"])],
        [value("size", TensorProto.INT64, 1)],
        [value("zeros", TensorProto.FLOAT, "M")],
    )
    inputs, outputs = [TensorSpec("size", "int64", (1,))], [TensorSpec("zeros", "float32", ("M",))]
    with OnnxSession(endless, inputs, outputs) as session:
        with pytest.raises(DeviceError, match="out of memory"):
            session.run({"size": np.array([1 << 50])})
        assert session.run({"size": np.array([2])})["zeros"].tolist() == [0, 0]
    assert capfd.readouterr() == ("", "")


def test_a_closed_session_computes_no_more(path: Path) -> None:
    session = OnnxSession(path, INPUTS, OUTPUTS)
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run({"x": np.ones((1, 2), np.float32), "k": np.ones((1, 1), np.int64)})


def test_closing_frees_the_engine_at_once(path: Path) -> None:
    import gc
    import weakref

    gc.disable()
    try:
        session = OnnxSession(path, INPUTS, OUTPUTS)
        native = weakref.ref(session._session)
        session.close()
        assert native() is None
    finally:
        gc.enable()
