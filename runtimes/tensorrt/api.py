"""Differences between the versions of TensorRT: 10.x, 11.x and the RTX edition, recognised by their attributes.

Nothing compares version strings. Variables that hold TensorRT's objects are named after their class (``builder``,
``network``, ``parser``, ``config``, ``profile``, ``timing``, ``runtime``, ``engine``, ``context``): a test walks every
attribute used on them through the bindings of each version.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from emo_edge.console.progress import FractionProgress
from emo_edge.errors import DeviceError, MissingExtraError

MODULES = ("tensorrt", "tensorrt_rtx")
MIB = 1 << 20
NOT_INSTALLED = (
    "TensorRT is not installed. A Jetson has it with JetPack, for a virtual environment made with "
    '--system-site-packages; elsewhere run: pip install "emo-edge[cuda]" (GeForce, RTX) or "emo-edge[tensorrt]"'
)
MEMORY_WORDS = ("out of memory", "outofmemory", "memoryallocation", "insufficient memory", "insufficient workspace")
"""Words of TensorRT's errors where memory is short, in lower case."""
CARD_WORDS = ("engine cannot run on this gpu",)
"""Words of TensorRT-RTX 1.7.1's error for an engine it has just built, on a card that it was not made for."""


def tensorrt_module(names: Sequence[str] = MODULES) -> Any:
    """Import the first TensorRT there is.

    Raises MissingExtraError where there is none, or where its bindings lack their libraries.
    """
    problems = []
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in names:
                problems.append(f"{name} lacks {error.name}")
        except (ImportError, OSError, RuntimeError) as error:
            problems.append(f"{name} cannot be loaded: {' '.join(str(error).split())[:200]}")
    reasons = f" ({'; '.join(problems)})" if problems else ""
    raise MissingExtraError(NOT_INSTALLED.replace("installed", f"installed{reasons}", 1))


def library_name(trt: Any) -> str:
    """Name and version of the library, as engines are known by."""
    return f"{trt.__name__} {trt.__version__}"


def short_of_memory(complaints: Sequence[str]) -> bool:
    """Return True for errors about memory that is not there, as opposed to memory that may not be touched."""
    text = " ".join(complaints).lower()
    return any(word in text for word in MEMORY_WORDS)


def wrong_card(complaints: Sequence[str]) -> bool:
    """Return True for errors about the card and not the engine, as the RTX edition's are on an H200."""
    return any(words in text.lower() for text in complaints for words in CARD_WORDS)


def complaints_logger(trt: Any, keep: list[str]) -> Any:
    """Create a logger that keeps errors in ``keep`` and prints nothing."""

    class Complaints(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                keep.append(message)

    return Complaints()


def created(trt: Any, create: Callable[[], Any]) -> Any:
    """Create a builder or a runtime; raise DeviceError where the library cannot, which it reports as a TypeError."""
    try:
        return create()
    except (RuntimeError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise DeviceError(f"{library_name(trt)} does not start here ({text}); see emo-edge doctor") from error


def strongly_typed_network(trt: Any, builder: Any) -> Any:
    """Create an empty network whose types are those of the graph; from 11 on there is no other kind."""
    flags = trt.NetworkDefinitionCreationFlag
    # 10.x needs the flag; 11 has it and ignores it.
    typed = getattr(flags, "STRONGLY_TYPED", None)
    return builder.create_network(0 if typed is None else 1 << int(typed))


def limit_memory(trt: Any, config: Any, mebibytes: int) -> None:
    """Bound a kernel's scratch memory.

    The pool TACTIC_DRAM keeps its default, three quarters of what the device has: where GPU and CPU have one memory
    it counts the weights too (docstring of 10.3), so that a small bound would refuse every large graph.
    """
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, mebibytes * MIB)


def keep_float32(trt: Any, config: Any) -> None:
    """Forbid TF32, which is on by default and rounds the mantissa of float32 products to 10 bits."""
    rounded = getattr(trt.BuilderFlag, "TF32", None)
    if rounded is not None:
        config.clear_flag(rounded)


def use_timing_cache(config: Any, content: bytes) -> bool:
    """Give the builder the timings of earlier builds; return False where this TensorRT has no timing cache."""
    make, take = getattr(config, "create_timing_cache", None), getattr(config, "set_timing_cache", None)
    if make is None or take is None:
        return False
    timing = make(content)
    return timing is not None and bool(take(timing, False))


def timing_cache_content(config: Any) -> bytes | None:
    """Return the timings of this and earlier builds, for the next."""
    timing = config.get_timing_cache()
    return None if timing is None else bytes(timing.serialize())


def progress_monitor(trt: Any, report: FractionProgress) -> Any:
    """Create a monitor that calls ``report(fraction of the outermost phase, its name)``; None where there is none."""
    base = getattr(trt, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.steps[phase_name] = max(num_steps, 1)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.steps:
                report(min((step + 1) / self.steps[phase_name], 1.0), phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()
