"""The session around an engine: buffers, shapes, parts, graphs, errors. A fake stands in for TensorRT and CUDA.

What TensorRT itself makes of our graphs is tested in tests/export/onnx/test_tensorrt_rtx.py, the names and
arguments of its API in test_contract.py; on a GPU this session has not run yet.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import DeviceError, DeviceMemoryError, EngineError, InputError, UnsupportedCardError
from emo_edge.runtimes.tensorrt.cuda import CudaDevice
from emo_edge.runtimes.tensorrt.session import TensorRtSession
from emo_edge.tensors import TensorSpec


class Code(int):
    """CUDA's code for memory that is not there."""

    name = "cudaErrorMemoryAllocation"


X, Y = TensorSpec("x", "float32", ("N", 4)), TensorSpec("y", "float32", ("N", 3))
WEIGHTS = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
"""Of ``small_graph``."""


def opened(graph: Path, trt: Any, **changes: Any) -> TensorRtSession:
    given: dict[str, Any] = {"inputs": [X], "outputs": [Y], "most_rows": 8, "module": trt} | changes
    return TensorRtSession(str(graph).encode(), device=CudaDevice(module=trt.cuda), **given)


def feed(rows: int, seed: int = 0) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).standard_normal((rows, 4)).astype(np.float32)}


def expected(fed: dict[str, Any]) -> Any:
    return np.maximum(fed["x"] @ WEIGHTS, 0)


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("integrated", [False, True])
def test_it_computes_what_the_graph_says(small_graph: Path, fake_tensorrt: Any, integrated: bool, graphs: bool) -> None:
    fake_tensorrt.cuda.integrated = integrated
    with opened(small_graph, fake_tensorrt, graphs=graphs) as session:
        for rows in (1, 3, 1, 8, 3, 20, 1):
            fed = feed(rows, seed=rows)
            np.testing.assert_allclose(session.run(fed)["y"], expected(fed), atol=1e-5)
    copied = fake_tensorrt.cuda.calls.count("cudaMemcpyAsync")
    assert copied == (0 if integrated else 18)
    assert (fake_tensorrt.cuda.replayed > 0) is (graphs and not integrated)


def test_arrays_belong_to_the_caller_and_memory_comes_back(small_graph: Path, fake_tensorrt: Any) -> None:
    cuda = fake_tensorrt.cuda
    session = opened(small_graph, fake_tensorrt)
    first = session.run(feed(2, seed=1))["y"]
    kept = first.copy()
    second = session.run(feed(2, seed=2))["y"]
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)
    before = len(cuda.memory)
    del second
    gc.collect()
    session.run(feed(2, seed=3))
    assert len(cuda.memory) == before
    session.close()
    session.close()
    assert len(cuda.memory) == 1, "what the caller still holds"
    np.testing.assert_array_equal(first, kept)
    del first
    gc.collect()
    assert cuda.memory == {}


def test_an_empty_feed_gives_empty_arrays(small_graph: Path, fake_tensorrt: Any) -> None:
    with opened(small_graph, fake_tensorrt) as session:
        assert session.run(feed(0))["y"].shape == (0, 3)


def test_feeds_that_do_not_fit_are_named(small_graph: Path, fake_tensorrt: Any) -> None:
    with opened(small_graph, fake_tensorrt) as session, pytest.raises(InputError, match="x is float64"):
        session.run({"x": np.zeros((1, 4))})


def test_arrays_in_any_layout_are_read(small_graph: Path, fake_tensorrt: Any) -> None:
    fed = {"x": np.asfortranarray(feed(5)["x"])[::2]}
    with opened(small_graph, fake_tensorrt) as session:
        np.testing.assert_allclose(session.run(fed)["y"], expected(fed), atol=1e-5)


def test_less_memory_means_fewer_rows_at_once(
    small_graph: Path, fake_tensorrt: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda, fed = fake_tensorrt.cuda, feed(8)
    whole = cuda._cudaMalloc

    def two_rows_at_most(size: int) -> Any:
        return (Code(2), None) if size > 2 * 16 else (Code(0), whole(size))

    monkeypatch.setattr(cuda, "cudaMalloc", two_rows_at_most, raising=False)
    with opened(small_graph, fake_tensorrt) as session:
        np.testing.assert_allclose(session.run(fed)["y"], expected(fed), atol=1e-5)
    assert "trying 4 at once" in caplog.text
    assert "trying 2 at once" in caplog.text


def test_no_memory_for_one_row_is_told(small_graph: Path, fake_tensorrt: Any) -> None:
    fake_tensorrt.cuda.failing["cudaMalloc"] = "cudaErrorMemoryAllocation"
    with (
        opened(small_graph, fake_tensorrt) as session,
        pytest.raises(DeviceMemoryError, match=r"^out of GPU memory; close what else uses the GPU"),
    ):
        session.run(feed(2))
    assert fake_tensorrt.cuda.memory == {}


@pytest.mark.parametrize(
    ("refused", "error", "text"),
    [
        ("deserialize", EngineError, "does not take this engine .this plan is of another device.*engines clear"),
        ("card", UnsupportedCardError, "tensorrt 10.3.0 does not run on this card .*9.0.*; use `device` cuda, or"),
        ("context", DeviceMemoryError, "no GPU memory for the engine's activations"),
    ],
)
def test_what_cannot_be_opened_is_told(
    refused: str, error: type[Exception], text: str, small_graph: Path, fake_tensorrt: Any
) -> None:
    fake_tensorrt.refuses.add(refused)
    with pytest.raises(error, match=text):
        opened(small_graph, fake_tensorrt)


def test_another_graphs_engine_is_refused(small_graph: Path, fake_tensorrt: Any) -> None:
    with pytest.raises(EngineError, match="the engine is another graph's: y is unknown; output z is None"):
        opened(small_graph, fake_tensorrt, outputs=[TensorSpec("z", "float32", ("N", 3))])
    with pytest.raises(EngineError, match="another graph's: input x is"):
        opened(small_graph, fake_tensorrt, inputs=[TensorSpec("x", "float16", ("N", 4))])


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        ("execute", "could not run the engine .an illegal memory access"),
        ("shape", r"x \[1, 4\] is outside what the engine was built for"),
    ],
)
def test_a_run_that_fails_is_one_error_and_leaks_nothing(
    refused: str, text: str, small_graph: Path, fake_tensorrt: Any
) -> None:
    with opened(small_graph, fake_tensorrt) as session:
        fake_tensorrt.refuses.add(refused)
        with pytest.raises(DeviceError, match=text) as caught:
            session.run(feed(1))
        assert not isinstance(caught.value, DeviceMemoryError)
    assert fake_tensorrt.cuda.memory == {}


def test_a_device_that_is_lost_is_told(small_graph: Path, fake_tensorrt: Any) -> None:
    with opened(small_graph, fake_tensorrt) as session:
        fake_tensorrt.cuda.failing["cudaStreamSynchronize"] = "cudaErrorDevicesUnavailable"
        with pytest.raises(DeviceError, match=r"CUDA says cudaErrorDevicesUnavailable .*restart the program"):
            session.run(feed(1))


def test_an_engine_that_cannot_be_captured_runs_without(
    small_graph: Path, fake_tensorrt: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fake_tensorrt.cuda.failing["cudaGraphInstantiate"] = "cudaErrorNotSupported"
    with opened(small_graph, fake_tensorrt, graphs=True) as session:
        for seed in range(3):
            np.testing.assert_allclose(session.run(feed(2, seed))["y"], expected(feed(2, seed)), atol=1e-5)
    assert "cannot be captured as a CUDA graph" in caplog.text


def test_a_closed_session_says_so(small_graph: Path, fake_tensorrt: Any) -> None:
    session = opened(small_graph, fake_tensorrt)
    session.close()
    with pytest.raises(ValueError, match="the session is closed"):
        session.run(feed(1))


def test_a_machine_without_a_device_is_told(fake_cuda: Any) -> None:
    fake_cuda.devices = 0
    with pytest.raises(DeviceError, match="there is no CUDA device 0; this machine has 0"):
        CudaDevice(module=fake_cuda)
