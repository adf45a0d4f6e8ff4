"""Compile a graph with TensorRT in a process of its own: ``python -m emo_edge.runtimes.tensorrt.builder``.

The builder takes up to 2.5 GB of host memory, may be killed for it or take its process along, and runs for minutes; a
child gives all of it back and leaves the parent alive. The child reads a recipe on stdin and writes a JSON object
a line: progress, and at the end what was built or what went wrong.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.console.children import code_command
from emo_edge.console.progress import FractionProgress
from emo_edge.errors import CheckpointError, DeviceError, DeviceMemoryError, EngineError, MissingExtraError
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt.build_config import EngineConfig
from emo_edge.utils.files import replaced_file
from emo_edge.utils.native_paths import native_path

START = "import emo_edge.runtimes.tensorrt.builder as builder; builder.main()"


@dataclass(frozen=True)
class Built:
    """An engine file that was just written, and its build."""

    library: str
    size: int
    seconds: float
    timing_cache: bool
    """True where its timings were written to the timing cache."""


def engine_from_onnx(
    recipe: EngineConfig,
    target: Path,
    *,
    timing: Path | None = None,
    modules: Sequence[str] = tensorrt_api.MODULES,
    progress: FractionProgress | None = None,
) -> Built:
    """Compile the recipe's graph into ``target``, in a child process.

    Args:
        recipe: what to compile.
        target: file the plan is written to; it appears whole or not at all.
        timing: file of earlier builds' timings; read if it is there, replaced afterwards.
        modules: TensorRT's modules, the first there is builds.
        progress: of the build.

    Raises EngineError for a graph TensorRT does not take or a child that ends otherwise, DeviceMemoryError where memory
    is short (fewer rows may fit), MissingExtraError without TensorRT, OSError for a disk that is full.
    """
    order = {"recipe": recipe.to_json(), "target": str(target), "timing": str(timing or ""), "modules": list(modules)}
    try:
        last = _run_child(order, progress or (lambda fraction, phase: None))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if "problem" in last:
        target.unlink(missing_ok=True)
        raise _error(recipe, last)
    return Built(last["library"], last["size"], last["seconds"], last["timing_cache"])


def _run_child(order: Mapping[str, Any], progress: FractionProgress) -> dict[str, Any]:
    """Run the child to its end and return its last message."""
    child = subprocess.Popen(
        code_command(START),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    assert child.stdin and child.stdout and child.stderr
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
    reader.start()
    last: dict[str, Any] = {}
    try:
        with suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(json.dumps(order))
        for message in _objects(child.stdout):
            if "fraction" in message:
                progress(float(message["fraction"]), str(message["phase"]))
            else:
                last = message
        child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        reader.join(1)
        child.stdout.close()
        child.stderr.close()
    return last or {
        "problem": _ending(child.returncode, "".join(errors)),
        "kind": "memory" if child.returncode == -signal.SIGKILL else "died",
    }


def _objects(lines: Iterator[str] | Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def _ending(code: int, errors: str) -> str:
    lines = errors.strip().splitlines()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"the building process {how}" + (f": {lines[-1][:200]}" if lines else "")


def _error(recipe: EngineConfig, last: Mapping[str, Any]) -> Exception:
    text = f"{recipe.name}: {last['problem']}"
    if last["kind"] == "disk":
        return OSError(int(last["errno"]), os.strerror(int(last["errno"])), str(last["file"]))
    if last["kind"] == "memory":
        return DeviceMemoryError(f"{text}; not enough memory to build for so many faces or frames at once")
    if last["kind"] == "missing":
        return MissingExtraError(str(last["problem"]))
    if last["kind"] == "graph":
        return EngineError(f"{text}; a newer TensorRT may, or use `device` cuda or cpu")
    return EngineError(f"{text}; see emo-edge doctor, or use `device` cuda or cpu")


def main() -> None:
    """Build what stdin describes and report on stdout."""
    _end_with_parent()
    order = json.loads(sys.stdin.read())
    answers = os.fdopen(os.dup(1), "w")
    # TensorRT's parser writes to stdout itself.
    os.dup2(2, 1)

    def report(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        report(**_build(order, lambda fraction, phase: report(fraction=round(fraction, 3), phase=phase)))
    except OSError as error:
        report(problem=str(error), kind="disk", errno=error.errno or 5, file=error.filename or order["target"])
    except MemoryError:
        report(problem="out of host memory", kind="memory")
    except CheckpointError as error:
        report(problem=str(error), kind="graph")
    except MissingExtraError as error:
        report(problem=str(error), kind="missing")
    except DeviceError as error:
        report(problem=str(error), kind="build")
    except Exception as error:
        # Whatever TensorRT raises must reach the parent as a sentence.
        report(problem=f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", kind="build")


def _build(order: Mapping[str, Any], progress: FractionProgress) -> dict[str, Any]:
    started = time.monotonic()
    recipe, target = EngineConfig.from_json(order["recipe"]), Path(order["target"])
    timing = Path(order["timing"]) if order["timing"] else None
    trt = tensorrt_api.tensorrt_module(order["modules"])
    complaints: list[str] = []
    logger = tensorrt_api.complaints_logger(trt, complaints)
    builder = tensorrt_api.created(trt, lambda: trt.Builder(logger))
    network, parser = _parsed(trt, builder, logger, recipe)
    config = _configured(trt, builder, recipe, tensorrt_api.progress_monitor(trt, progress))
    keeps = tensorrt_api.use_timing_cache(config, _read(timing)) if timing else False
    plan = builder.build_serialized_network(network, config)
    del parser
    if plan is None:
        return {"problem": _shortened(complaints) or "the builder returned nothing", "kind": _kind(complaints)}
    _write(target, memoryview(plan))
    content = tensorrt_api.timing_cache_content(config) if keeps else None
    if timing and content:
        with suppress(OSError):  # the engine is there; the next build measures again
            _write(timing, memoryview(content))
    return {
        "library": tensorrt_api.library_name(trt),
        "size": target.stat().st_size,
        "seconds": round(time.monotonic() - started, 2),
        "timing_cache": bool(content),
    }


def _parsed(trt: Any, builder: Any, logger: Any, recipe: EngineConfig) -> tuple[Any, Any]:
    network = tensorrt_api.strongly_typed_network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    with native_path(recipe.graph) as name:
        parsed = parser.parse_from_file(name)
    if not parsed:
        problems = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise CheckpointError(f"TensorRT does not take this graph: {_shortened(problems)}")
    inputs = {network.get_input(index).name for index in range(network.num_inputs)}
    if inputs != set(recipe.shapes):
        raise CheckpointError(f"the graph reads {', '.join(sorted(inputs))}, described are {', '.join(recipe.shapes)}")
    return network, parser


def _configured(trt: Any, builder: Any, recipe: EngineConfig, monitor: Any) -> Any:
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, (least, likely, most) in recipe.shapes.items():
        profile.set_shape(name, least, likely, most)
    config.add_optimization_profile(profile)
    config.builder_optimization_level = recipe.optimization_level
    tensorrt_api.keep_float32(trt, config)
    tensorrt_api.limit_memory(trt, config, recipe.workspace_mib)
    if monitor is not None:
        config.progress_monitor = monitor
    return config


def _kind(complaints: Sequence[str]) -> str:
    return "memory" if tensorrt_api.short_of_memory(complaints) else "build"


def _end_with_parent() -> None:
    """Ask Linux to end this process when the one that started it ends, however it does."""
    with suppress(Exception):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _shortened(complaints: Sequence[str]) -> str:
    return "; ".join(" ".join(text.split())[:300] for text in complaints[-3:])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _write(path: Path, content: memoryview) -> None:
    """Write a file as a whole; a full disk leaves nothing."""
    with replaced_file(path, synced=True) as partial:
        partial.write_bytes(content)


if __name__ == "__main__":
    main()
