"""A graph that TensorRT builds in a blink, and the recipe of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

SMALL_WEIGHTS = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)


@pytest.fixture
def small_graph(tmp_path: Path) -> Path:
    """y = relu(x w), x float32 [N, 4], y float32 [N, 3]."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(SMALL_WEIGHTS, "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "small", [x], [y], [weights])
    path = tmp_path / "small.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10), path)
    return path


@pytest.fixture
def recipe_of() -> Callable[..., Any]:
    from emo_edge.runtimes.tensorrt.build_config import EngineConfig

    def recipe(graph: Path, **changes: Any) -> EngineConfig:
        shapes = {"x": ([1, 4], [1, 4], [8, 4])}
        return EngineConfig(
            **{"graph": str(graph), "digest": "0" * 64, "name": "small fp32", "shapes": shapes} | changes
        )

    return recipe


class Code(int):
    """An error code of CUDA, which has a name."""

    name = "cudaErrorUnknown"

    @classmethod
    def named(cls, name: str) -> Code:
        code = cls(999)
        code.name = name
        return code


class FakeCuda:
    """cuda-python's runtime module with main memory in the device's place; only what the session calls."""

    cudaStreamNonBlocking, cudaHostAllocDefault, cudaHostAllocMapped = 1, 0, 2
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, *, integrated: bool = False, devices: int = 1) -> None:
        self.integrated, self.devices = integrated, devices
        self.memory: dict[int, Any] = {}
        self.calls: list[str] = []
        self.failing: dict[str, str] = {}
        """Function to the name of the error it gives."""
        self.capturing: list[Callable[[], None]] | None = None
        self.replayed = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def called(*arguments: Any) -> Any:
            self.calls.append(name)
            if name in self.failing:
                return (Code.named(self.failing[name]), *([None] if name not in NOTHING else []))
            found = getattr(self, f"_{name}")(*arguments)
            return (Code(0), *(found if isinstance(found, tuple) else () if found is None else (found,)))

        return called

    def _cudaGetDeviceCount(self) -> int:
        return self.devices

    def _cudaSetDevice(self, index: int) -> None:
        assert index < self.devices

    def _cudaGetDeviceProperties(self, index: int) -> Any:
        return SimpleNamespace(name=b"Fake Orin\0\0", major=8, minor=7, integrated=int(self.integrated))

    def _cudaMemGetInfo(self) -> tuple[int, int]:
        return 3 << 30, 8 << 30

    def _cudaDriverGetVersion(self) -> int:
        return 12060

    def _cudaStreamCreateWithFlags(self, flags: int) -> int:
        return 77

    def _cudaStreamDestroy(self, stream: int) -> None:
        assert stream == 77

    def _cudaMalloc(self, size: int) -> int:
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _cudaHostAlloc(self, size: int, flags: int) -> int:
        assert flags == (2 if self.integrated else 0)
        return self._cudaMalloc(size)

    def _cudaHostGetDevicePointer(self, place: int, flags: int) -> int:
        return place

    def _cudaFree(self, place: int) -> None:
        del self.memory[place]

    _cudaFreeHost = _cudaFree

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        for place in (target, source):
            assert any(start <= place and place + size <= start + len(block) for start, block in self.memory.items())
        ctypes.memmove(target, source, size)

    def _cudaStreamSynchronize(self, stream: int) -> None:
        assert stream == 77

    def _cudaStreamBeginCapture(self, stream: int, mode: int) -> None:
        self.capturing = []

    def _cudaStreamEndCapture(self, stream: int) -> Any:
        captured, self.capturing = self.capturing, None
        return captured

    def _cudaGraphInstantiate(self, graph: Any, flags: int) -> Any:
        return graph

    def _cudaGraphDestroy(self, graph: Any) -> None: ...

    def _cudaGraphExecDestroy(self, graph: Any) -> None: ...

    def _cudaGraphLaunch(self, graph: Any, stream: int) -> None:
        self.replayed += 1
        for work in graph:
            work()


NOTHING = {"cudaSetDevice", "cudaFree", "cudaFreeHost", "cudaMemcpyAsync", "cudaStreamSynchronize", "cudaGraphLaunch"}
NOTHING |= {"cudaStreamBeginCapture", "cudaStreamDestroy", "cudaGraphDestroy", "cudaGraphExecDestroy"}


OTHER_CARD = (
    "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine cannot run on this GPU, which has "
    "compute capability 9.0. Supported compute capabilities: 8.0 8.6 8.9 12.0 12.1 >12.0. Tensor"
)
"""What TensorRT-RTX 1.7.1 said on an H200 of an engine it had just built there."""


class FakeTensorRt:
    """TensorRT's module, whose plan is the path of an ONNX file that ONNX Runtime computes on the CPU.

    Only for the session's own logic: names, shapes, addresses, order, ownership. It proves nothing of TensorRT.
    """

    __name__, __version__ = "tensorrt", "10.3.0"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    class ILogger:
        ERROR, INTERNAL_ERROR = 1, 0

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.noise = 0.0
        """Added to whatever an engine computes."""
        self.refuses: set[str] = set()
        """Functions that return False or None."""

    def nptype(self, dtype: str) -> Any:
        return np.dtype(dtype).type

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self._engine(bytes(plan), logger))

    def _engine(self, plan: bytes, logger: Any) -> Any:
        if "deserialize" in self.refuses:
            logger.log(self.ILogger.ERROR, "this plan is of another device")
            return None
        if "card" in self.refuses:
            logger.log(self.ILogger.ERROR, OTHER_CARD)
            return None
        return FakeEngine(self, plan.decode(), logger)


class FakeEngine:
    def __init__(self, trt: FakeTensorRt, path: str, logger: Any) -> None:
        import onnxruntime as ort

        from emo_edge.runtimes.onnx import DTYPES

        self.trt, self.logger = trt, logger
        self.session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = [("in", value) for value in self.session.get_inputs()]
        found += [("out", value) for value in self.session.get_outputs()]
        self.tensors = {value.name: (mode, DTYPES[value.type], value.shape) for mode, value in found}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> str:
        return self.tensors[name][1]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self.tensors[name][2])

    def create_execution_context(self) -> Any:
        return None if "context" in self.trt.refuses else FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.shapes, self.places = engine, dict[str, Any](), dict[str, int]()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        return "shape" not in self.engine.trt.refuses

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sizes = {
            axis: size
            for fed, shape in self.shapes.items()
            for axis, size in zip(self.engine.tensors[fed][2], shape, strict=True)
        }
        return tuple(sizes.get(size, size) for size in self.engine.tensors[name][2])

    def set_tensor_address(self, name: str, place: int) -> bool:
        self.places[name] = place
        return True

    def execute_async_v3(self, stream: int) -> bool:
        trt = self.engine.trt
        if "execute" in trt.refuses:
            self.engine.logger.log(trt.ILogger.ERROR, "an illegal memory access was encountered")
            return False
        shapes, places = dict(self.shapes), dict(self.places)
        work = lambda: self._compute(shapes, places)  # noqa: E731
        work() if trt.cuda.capturing is None else trt.cuda.capturing.append(work)
        return True

    def _compute(self, shapes: dict[str, Any], places: dict[str, int]) -> None:
        feed = {name: self._view(name, shape, places).copy() for name, shape in shapes.items()}
        names = [name for name, (mode, _, _) in self.engine.tensors.items() if mode == "out"]
        noise = np.random.default_rng(0)
        for name, value in zip(names, self.engine.session.run(names, feed), strict=True):
            off = self.engine.trt.noise * noise.standard_normal(value.shape) * np.abs(value).max()
            self._view(name, value.shape, places)[...] = value + off.astype(value.dtype)

    def _view(self, name: str, shape: tuple[int, ...], places: dict[str, int]) -> Any:
        dtype = np.dtype(self.engine.tensors[name][1])
        size = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer((ctypes.c_uint8 * size).from_address(places[name]), dtype).reshape(shape)


@pytest.fixture
def fake_cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def fake_tensorrt(fake_cuda: FakeCuda) -> FakeTensorRt:
    return FakeTensorRt(fake_cuda)
