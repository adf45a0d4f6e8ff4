"""Facts that the doctor concludes from: the machine and the outcome of each engine's trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from emo_edge.diagnostics.trials.check import EngineReport, check_engines
from emo_edge.errors import InputError
from emo_edge.machine.hardware import Machine, read_machine
from emo_edge.utils.cache import cache_directory


@dataclass(frozen=True)
class Facts:
    """The machine and its engines."""

    machine: Machine
    engines: tuple[EngineReport, ...]

    @cached_property
    def working(self) -> dict[str, dict[str, str]]:
        """Facts of the engines that work, by module."""
        return {engine.module: engine.facts for engine in self.engines if engine.state == "works"}

    @property
    def missing(self) -> list[EngineReport]:
        """Engines that are not installed."""
        return [engine for engine in self.engines if engine.state == "missing"]

    @property
    def has_gpu(self) -> bool:
        """The machine has an NVIDIA card or is a Jetson."""
        return bool(self.machine.cuda_devices or self.machine.jetson)

    def devices(self) -> Iterator[str]:
        """Yield what ``emo-edge infer --device`` can take here."""
        works = self.working
        onnx, llama = works.get("onnxruntime"), works.get("llama_cpp")
        detects = works.get("cv2", {}).get("cascades") == "work"
        if onnx is None or llama is None or not detects or any(e.needed and e.state != "works" for e in self.engines):
            return
        gpu = llama.get("gpu") == "built in"
        yield "cpu"
        if gpu and onnx.get("cuda") == "works":
            yield "cuda"
        if gpu and "cuda.bindings" in works and not works.keys().isdisjoint({"tensorrt", "tensorrt_rtx"}):
            yield "tensorrt"
        if "openvino" in works:
            yield "openvino"


def read_facts(bundle: Path | None = None) -> Facts:
    """Read the machine and try its engines; ``bundle`` has the language model that llama.cpp computes."""
    return Facts(read_machine(folders=written_folders()), tuple(check_engines(bundle)))


def written_folders() -> list[Path]:
    """Return the folders that emo-edge writes to; one that this user does not have is left out."""
    folders = []
    for find in (Path.cwd, cache_directory):
        # A working directory that was deleted, a user without a home.
        with suppress(OSError, InputError):
            folders.append(find())
    return folders
