"""ONNX Runtime and OpenVINO on a small hand-written graph: what they refuse, and that nothing falls back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from emo_edge.errors import CheckpointError, DeviceError, InputError
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.runtimes.openvino import OpenVinoSession
from emo_edge.tensors import TensorSpec

INPUTS = (TensorSpec("x", "float32", ("N", 2)), TensorSpec("k", "int64", ("N", 1)))
OUTPUTS = (TensorSpec("product", "float32", ("N", 2)), TensorSpec("count", "float32", ("N", 1)))

NAMES = {OnnxSession: "ONNX Runtime", OpenVinoSession: "OpenVINO"}


@pytest.fixture(params=NAMES.values())
def engine(request: pytest.FixtureRequest) -> Any:
    return {name: kind for kind, name in NAMES.items()}[request.param]


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
def test_outputs_come_by_name_for_any_batch(engine: Any, path: Path, threads: int | None) -> None:
    with engine(path, INPUTS, OUTPUTS[::-1], threads=threads) as session:
        for batch in (1, 3):
            x, k = np.full((batch, 2), 1.5, np.float32), np.arange(batch)[:, None]
            found = session.run({"k": k, "x": x})
            assert list(found) == ["count", "product"]
            assert found["product"].tolist() == (x * k).tolist()
            assert found["product"].dtype == np.float32


def test_a_feed_that_does_not_fit_is_refused(engine: Any, path: Path) -> None:
    with engine(path, INPUTS, OUTPUTS) as session, pytest.raises(InputError, match="x is float64"):
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
    engine: Any, path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], message: str
) -> None:
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}: not the graph described: .*{message}"):
        engine(path, inputs, outputs)


@pytest.mark.parametrize("content", [None, b"", b"not a graph", "truncated"])
def test_an_unreadable_file_is_named_and_nothing_printed(
    engine: Any, path: Path, tmp_path: Path, content: bytes | str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    if content is not None:
        broken.write_bytes(path.read_bytes()[:-40] if isinstance(content, str) else content)
    # Nothing at all is a graph without inputs and outputs for OpenVINO.
    empty = engine is OpenVinoSession and content == b""
    words = "not the graph described" if empty else f"{NAMES[engine]} cannot load this graph"
    with pytest.raises(CheckpointError, match=rf"broken\.onnx: {words}"):
        engine(broken, INPUTS, OUTPUTS)
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


def test_a_closed_session_computes_no_more(engine: Any, path: Path) -> None:
    session = engine(path, INPUTS, OUTPUTS)
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


def test_openvino_returns_arrays_of_its_own(path: Path) -> None:
    with OpenVinoSession(path, INPUTS, OUTPUTS) as session:
        first = session.run({"x": np.ones((1, 2), np.float32), "k": np.ones((1, 1), np.int64)})
        session.run({"x": np.zeros((1, 2), np.float32), "k": np.zeros((1, 1), np.int64)})
        assert first["product"].tolist() == [[1, 1]]


def test_openvino_reads_no_weights_from_outside_the_graphs_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    folder = tmp_path / "bundle"
    folder.mkdir()
    for place in ("../secret.bin", str(tmp_path / "secret.bin")):
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value=place)
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            "reaching_out",
            [value("x", TensorProto.FLOAT, "batch", 2)],
            [value("y", TensorProto.FLOAT, "batch", 2)],
            [weight],
        )
        file = folder / "graph.onnx"
        file.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())
        with pytest.raises(CheckpointError, match=r"graph\.onnx: OpenVINO cannot load this graph"):
            OpenVinoSession(file, INPUTS[:1], [TensorSpec("y", "float32", ("N", 2))])


def test_openvino_is_imported_without_its_reporter(tmp_path: Path) -> None:
    reporter = tmp_path / "openvino_telemetry"
    (reporter / "backend").mkdir(parents=True)
    (reporter / "__init__.py").write_text("print('reporting')\n", encoding="utf-8")
    (reporter / "backend" / "__init__.py").write_text("backend_ga4 = None\n", encoding="utf-8")
    code = (
        "import sys; from emo_edge.runtimes.openvino import load_openvino, native_precision; load_openvino();"
        "print(native_precision(), 'openvino_telemetry' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines() in (["bf16 False"], ["f32 False"])
