"""Inputs and outputs bound to memory that is kept: tried on the CPU, whose memory is bound as a card's is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import DeviceError, DeviceMemoryError
from emo_edge.runtimes import onnx, onnx_io_binding
from emo_edge.runtimes.base.row_batches import RowBatches
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.runtimes.onnx import OnnxSession, _translated, providers
from emo_edge.runtimes.onnx_io_binding import IoBinding


def bound_session(path: Path, inputs: Any, outputs: Any) -> tuple[OnnxSession, IoBinding]:
    session = OnnxSession(path, inputs, outputs, device="cpu", threads=1)
    return session, IoBinding(session._session, session.inputs, session.outputs, "cpu", graphs=False)


@pytest.mark.parametrize("part", ["vision", "connector", "face"])
def test_every_graph_gives_what_an_unbound_run_gives(tiny_bundle: Path, part: str) -> None:
    bundle = Bundle.open(tiny_bundle)
    component = bundle.manifest.components.graph(part)
    specs = [[contract.spec() for contract in side] for side in (component.inputs, component.outputs)]
    session, bound = bound_session(bundle.files(component.variants["fp16"])[0], *specs)
    feed = ReferenceFeeds(bundle, samples=3).feed(part)
    with session:
        for rows in (3, 1, 3):
            some = {name: value[:rows] for name, value in feed.items()}
            expected, found = session.run(some), bound.run(some)
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_arrays_belong_to_the_caller_and_memory_is_bounded(small_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_edge.tensors import TensorSpec

    monkeypatch.setattr(onnx_io_binding, "KEPT", 3)
    session, bound = bound_session(
        small_graph, [TensorSpec("x", "float32", ("N", 4))], [TensorSpec("y", "float32", ("N", 3))]
    )
    rng = np.random.default_rng(0)
    with session:
        feeds = [{"x": rng.standard_normal((rows, 4)).astype(np.float32)} for rows in (1, 2, 3, 4, 5, 1, 1)]
        found = [bound.run(feed)["y"] for feed in feeds]
        for feed, value in zip(feeds, found, strict=True):
            np.testing.assert_array_equal(value, session.run(feed)["y"])
    assert len(bound._kept) == 3


class Binding:
    """Takes what it is told, as a card's binding would."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_the_first_sizes_are_captured_and_the_others_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from emo_edge.tensors import TensorSpec

    monkeypatch.setattr(onnx_io_binding, "KEPT", 2)
    monkeypatch.setattr(onnx_io_binding, "CAPTURED", 3)
    specs = [TensorSpec("x", "float32", ("N", 4))], [TensorSpec("y", "float32", ("N", 4))]
    told: list[str] = []

    def run_with_iobinding(binding: Any, options: Any) -> None:
        told.append(options.get_run_config_entry(onnx_io_binding.GRAPH_OPTION))

    session = SimpleNamespace(io_binding=Binding, run_with_iobinding=run_with_iobinding)
    bound = IoBinding(session, *specs, "cpu", graphs=True)
    for rows in (1, 2, 1, 3, 4, 5, 6, 4, 2):
        bound.run({"x": np.zeros((rows, 4), np.float32)})
    assert told == ["0", "1", "0", "2", "-1", "-1", "-1", "-1", "1"]
    assert sorted(shapes[0][0] for shapes in bound._kept) == [1, 2, 3, 4, 6]


@pytest.mark.parametrize(("said", "opens"), [(onnx.NOT_CAPTURED, True), ("CUDA failure 100: no CUDA device", False)])
def test_a_graph_that_cannot_be_captured_runs_without(
    said: str, opens: bool, small_graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import onnxruntime as ort

    asked: list[str] = []

    def session(path: str, options: Any, providers: Any) -> Any:
        asked.append(providers[0][1]["enable_cuda_graph"])
        if asked[-1] == "1":
            raise RuntimeError(f"This session {said} as requested by the user")
        return real(path, options, providers=["CPUExecutionProvider"])

    real = ort.InferenceSession
    caplog.set_level("INFO")
    monkeypatch.setattr(ort, "__version__", "1.31.1")
    monkeypatch.setattr(ort, "InferenceSession", session)
    if opens:
        made, graphs = onnx._create_session(ort, small_graph, ort.SessionOptions(), CudaSettings())
        assert (graphs, asked) == (False, ["1", "0"])
        assert made.get_providers() == ["CPUExecutionProvider"]
        assert "small.onnx runs without CUDA graphs: This session cannot use" in caplog.text
    else:
        with pytest.raises(RuntimeError, match="no CUDA device"):
            onnx._create_session(ort, small_graph, ort.SessionOptions(), CudaSettings())
        assert asked == ["1"]


@pytest.mark.parametrize(
    ("version", "cuda", "asked"),
    [
        ("1.31.0", CudaSettings(), "1"),
        ("1.40.0.dev20270101", CudaSettings(), "1"),
        ("1.26.0", CudaSettings(), "0"),
        ("1.30.0", CudaSettings(), "0"),
        ("1.31.0", CudaSettings(graphs=False), "0"),
        ("1.31.0", CudaSettings(tensorrt_provider=True), "0"),
    ],
)
def test_graphs_are_captured_where_onnx_runtime_keeps_what_they_read(
    version: str, cuda: CudaSettings, asked: str, small_graph: Path
) -> None:
    told: list[str] = []

    def session(path: str, options: Any, providers: Any) -> None:
        told.append(dict(providers)["CUDAExecutionProvider"]["enable_cuda_graph"])

    ort = SimpleNamespace(__version__=version, InferenceSession=session)
    assert onnx._create_session(ort, small_graph, None, cuda) == (None, asked == "1")
    assert told == [asked]


def test_a_capture_that_fails_while_it_runs_is_given_up_for_good(
    small_graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from emo_edge.tensors import TensorSpec

    specs = [TensorSpec("x", "float32", ("N", 4))], [TensorSpec("y", "float32", ("N", 3))]
    feed = {"x": np.ones((2, 4), np.float32)}
    with OnnxSession(small_graph, *specs, device="cpu", threads=1) as session:
        expected = session.run(feed)["y"]
        opened = session._session

        def run_with_iobinding(*_: Any) -> None:
            raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing ; cudaMalloc")

        broken = SimpleNamespace(io_binding=opened.io_binding, run_with_iobinding=run_with_iobinding)
        session._bound, session._graphs = IoBinding(broken, *specs, "cpu", graphs=True), True
        np.testing.assert_array_equal(session.run(feed)["y"], expected)
        assert session._session is not opened
        assert not session._graphs
        assert not session._cuda.graphs
    assert "small.onnx runs without CUDA graphs: CUDA failure 900" in caplog.text


def test_a_size_that_failed_keeps_no_memory() -> None:
    from emo_edge.tensors import TensorSpec

    specs = [TensorSpec("x", "float32", ("N", 4))], [TensorSpec("y", "float32", ("N", 4))]
    fails = [RuntimeError("out of memory")]
    told: list[str] = []

    def run_with_iobinding(binding: Any, options: Any) -> None:
        told.append(options.get_run_config_entry(onnx_io_binding.GRAPH_OPTION))
        if fails:
            raise fails.pop()

    session = SimpleNamespace(io_binding=Binding, run_with_iobinding=run_with_iobinding)
    bound, feed = IoBinding(session, *specs, "cpu", graphs=True), {"x": np.zeros((2, 4), np.float32)}
    with pytest.raises(RuntimeError, match="out of memory"):
        bound.run(feed)
    assert not bound._kept
    bound.run(feed)
    assert told == ["0", "1"]


def test_what_a_bundle_asks_of_cuda_becomes_the_providers_options() -> None:
    assert providers("cpu", CudaSettings()) == [("CPUExecutionProvider", {})]
    asked = CudaSettings(memory_limit_mib=512, grow="doubling", convolution_search="exhaustive", graphs=True)
    assert providers("cuda", asked) == [
        (
            "CUDAExecutionProvider",
            {
                "arena_extend_strategy": "kNextPowerOfTwo",
                "cudnn_conv_algo_search": "EXHAUSTIVE",
                "use_tf32": "0",
                "enable_cuda_graph": "1",
                "gpu_mem_limit": str(512 << 20),
            },
        )
    ]
    both = [name for name, _ in providers("cuda", CudaSettings(tensorrt_provider=True))]
    assert both == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Failed to allocate memory for requested buffer of size 1024", DeviceMemoryError),
        ("CUDA failure 2: out of memory ; GPU=0", DeviceMemoryError),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", DeviceMemoryError),
        ("CUDA failure 700: an illegal memory access was encountered", DeviceError),
        ("Got invalid dimensions for input: x", RuntimeError),
    ],
)
def test_what_onnx_runtime_says_becomes_an_error_to_act_on(said: str, kind: type[Exception]) -> None:
    assert type(_translated(RuntimeError(said))) is kind


def test_a_feed_that_does_not_fit_is_halved_and_the_size_remembered() -> None:
    asked: list[int] = []

    def compute(feed: Any) -> dict[str, Any]:
        asked.append(len(feed["x"]))
        if len(feed["x"]) > 3:
            raise DeviceMemoryError("out of memory")
        return {"y": feed["x"] * 2}

    parts, feed = RowBatches(), {"x": np.arange(10)}
    for _ in range(2):
        np.testing.assert_array_equal(parts.run(compute, feed)["y"], feed["x"] * 2)
    assert asked == [10, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]


def test_one_row_that_does_not_fit_is_an_error() -> None:
    def compute(feed: Any) -> dict[str, Any]:
        raise DeviceMemoryError("out of memory")

    with pytest.raises(DeviceMemoryError, match="out of memory"):
        RowBatches().run(compute, {"x": np.arange(3)})
