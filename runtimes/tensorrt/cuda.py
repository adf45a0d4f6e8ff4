"""One NVIDIA device through cuda-python: what it is, memory, copies, a stream, captured graphs.

Every call's error code becomes a DeviceError; nothing here ends the process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from emo_edge.errors import DeviceError, DeviceMemoryError, MissingExtraError

BINDINGS = ("cuda.bindings.runtime", "cuda.cudart")
"""The module's place in cuda-python from 12.6 on, and before."""
OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


@dataclass(frozen=True)
class CudaFacts:
    """Properties of a device; an ``integrated`` one uses the machine's own memory."""

    name: str
    compute_capability: str
    integrated: bool
    memory: int
    free: int
    driver: int
    """The newest CUDA version the driver knows: 1000 major + 10 minor."""


class CudaDevice:
    """A device and one stream of it. Raises MissingExtraError without cuda-python, DeviceError without a device."""

    def __init__(self, index: int = 0, module: Any = None) -> None:
        """Take the device ``index``; ``module`` stands in for cuda-python's runtime module."""
        self._cuda: Any = module or cuda_module()
        count = self.call("cudaGetDeviceCount")
        if index >= count:
            raise DeviceError(f"there is no CUDA device {index}; this machine has {count}")
        self._index = index
        self.use()
        self.facts = self._read_facts(index)
        self.stream: Any = self.call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)

    def use(self) -> None:
        """Make this the device of the calling thread, which another library may have changed."""
        self.call("cudaSetDevice", self._index)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the CUDA runtime; return its value, or a tuple where it has several."""
        try:
            code, *values = getattr(self._cuda, name)(*arguments)
        except RuntimeError as error:
            # cuda-python before 12.9 raises where it finds no driver.
            raise DeviceError(
                f"CUDA cannot be used ({' '.join(str(error).split())[:200]}); see emo-edge doctor"
            ) from error
        if int(code) != 0:
            raise self._error(name, code)
        return values[0] if len(values) == 1 else tuple(values)

    def _error(self, name: str, code: Any) -> DeviceError:
        word = getattr(code, "name", str(code))
        if word == OUT_OF_MEMORY:
            return DeviceMemoryError(
                "out of GPU memory; close what else uses the GPU, choose a smaller profile or feed fewer faces at once"
            )
        return DeviceError(
            f"CUDA says {word} ({name}); see emo-edge doctor, and restart the program: the device is lost"
        )

    def _read_facts(self, index: int) -> CudaFacts:
        properties = self.call("cudaGetDeviceProperties", index)
        free, total = self.call("cudaMemGetInfo")
        name = properties.name.decode("utf-8", "replace") if isinstance(properties.name, bytes) else properties.name
        return CudaFacts(
            name=str(name).rstrip("\0"),
            compute_capability=f"{properties.major}.{properties.minor}",
            integrated=bool(properties.integrated),
            memory=int(total),
            free=int(free),
            driver=int(self.call("cudaDriverGetVersion")),
        )

    def device_memory(self, size: int) -> Memory:
        """Allocate ``size`` bytes on the device."""
        address = int(self.call("cudaMalloc", max(size, 1)))
        return Memory(address, address, size, lambda: self.call("cudaFree", address))

    def host_memory(self, size: int) -> Memory:
        """Allocate ``size`` bytes of pinned host memory; on an integrated device the GPU reads them where they are."""
        flags = self._cuda.cudaHostAllocMapped if self.facts.integrated else self._cuda.cudaHostAllocDefault
        address = int(self.call("cudaHostAlloc", max(size, 1), flags))
        device_address = int(self.call("cudaHostGetDevicePointer", address, 0)) if self.facts.integrated else 0
        return Memory(address, device_address, size, lambda: self.call("cudaFreeHost", address))

    def copy_to_device(self, target: int, source: int, size: int) -> None:
        """Start copying ``size`` bytes of pinned memory to the device."""
        self.call(
            "cudaMemcpyAsync", target, source, size, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, self.stream
        )

    def copy_to_host(self, target: int, source: int, size: int) -> None:
        """Start copying ``size`` bytes from the device to pinned memory."""
        self.call(
            "cudaMemcpyAsync", target, source, size, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost, self.stream
        )

    def wait(self) -> None:
        """Wait until everything started so far has happened."""
        self.call("cudaStreamSynchronize", self.stream)

    def captured(self, work: Callable[[], None]) -> Any:
        """Record what ``work`` starts on the stream as a graph that `launch` replays."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        except BaseException:
            with suppress(DeviceError):
                self.call("cudaStreamEndCapture", self.stream)
            raise
        graph = self.call("cudaStreamEndCapture", self.stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def forget(self, graph: Any) -> None:
        """Give a captured graph back; a lost device has none to give back."""
        with suppress(DeviceError):
            self.call("cudaGraphExecDestroy", graph)

    def launch(self, graph: Any) -> None:
        """Start a captured graph."""
        self.call("cudaGraphLaunch", graph, self.stream)

    def close(self) -> None:
        """Give the stream back; a second call does nothing."""
        if self.stream is not None:
            with suppress(DeviceError):
                self.call("cudaStreamDestroy", self.stream)
            self.stream = None


class PinnedPool:
    """Pinned host memory that is used again: asking the driver for it takes longer than a small network."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._idle: dict[int, list[Memory]] = {}
        self._open = True

    def take(self, size: int) -> Memory:
        """Return memory of ``size`` bytes; freeing it gives it back to the pool."""
        idle = self._idle.get(size)
        try:
            memory = idle.pop() if idle else self._device.host_memory(size)
        except DeviceMemoryError:
            self._free_idle()
            memory = self._device.host_memory(size)
        return Memory(memory.host, memory.device, size, lambda: self._give_back(memory))

    def _give_back(self, memory: Memory) -> None:
        if self._open:
            self._idle.setdefault(memory.size, []).append(memory)
        else:
            memory.free()

    def close(self) -> None:
        """Free what is idle now, and what is still used when it is given back."""
        self._open = False
        self._free_idle()

    def _free_idle(self) -> None:
        for memory in (memory for idle in self._idle.values() for memory in idle):
            memory.free()
        self._idle.clear()


class Memory:
    """Bytes at ``host`` (or on the device) that the device addresses as ``device``; freed once."""

    def __init__(self, host: int, device: int, size: int, free: Callable[[], object]) -> None:
        self.host, self.device, self.size, self._free = host, device, size, free
        self._there = True

    def free(self) -> None:
        """Give the memory back; a second call does nothing, and a lost device has none to give back."""
        if self._there:
            self._there = False
            with suppress(DeviceError):
                self._free()


def cuda_module() -> Any:
    """Import cuda-python's runtime module; raise MissingExtraError where there is none."""
    for name in BINDINGS:
        with suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    raise MissingExtraError(
        'cuda-python is not installed. Run: pip install "emo-edge[cuda]" (on a Jetson: "emo-edge[jetson]")'
    )
