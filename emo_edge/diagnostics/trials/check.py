"""Try every engine in a child process of its own, for at most a minute each.

An engine that was built for another CPU, for another CUDA or by a faulty compiler ends its process with a signal, so
this process imports none.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emo_edge.console.children import module_command
from emo_edge.utils.extras import installed_packages
from emo_edge.utils.processes import ProcessResult, run_bounded

CHILD = "emo_edge.diagnostics.trials.child"
TRIAL_SECONDS = 60.0

State = Literal["works", "broken", "missing"]


@dataclass(frozen=True)
class Engine:
    """A library that computes graphs or reads pictures; ``distributions`` are the packages that bring its module."""

    module: str
    distributions: tuple[str, ...]
    needed: bool = False
    """Needed for inference on the CPU."""


ENGINES = (
    Engine(
        "onnxruntime",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-silicon"),
        needed=True,
    ),
    Engine("llama_cpp", ("llama-cpp-python",), needed=True),
    Engine("tokenizers", ("tokenizers",), needed=True),
    Engine(
        "cv2",
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
        needed=True,
    ),
    Engine("av", ("av",)),
    Engine("pillow_heif", ("pillow-heif",)),
    Engine("openvino", ("openvino",)),
    Engine("tensorrt", ("tensorrt",)),
    Engine("tensorrt_rtx", ("tensorrt-rtx",)),
    Engine("cuda.bindings", ("cuda-bindings",)),
    Engine("torch", ("torch",)),
)


@dataclass(frozen=True)
class EngineReport:
    """The outcome of an engine's trial; ``facts`` are short texts by name, ``packages`` versions by name."""

    module: str
    needed: bool
    state: State
    version: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    seconds: float | None = None


def check_engines(bundle: Path | None = None, engines: Sequence[Engine] = ENGINES) -> list[EngineReport]:
    """Try the engines one after another; ``bundle`` has the language model llama.cpp computes, the demo's if None."""
    return [check_engine(engine, arguments=[str(bundle)] if bundle else []) for engine in engines]


def check_engine(
    engine: Engine,
    *,
    arguments: Sequence[str] = (),
    command: Sequence[str] | None = None,
    seconds: float = TRIAL_SECONDS,
) -> EngineReport:
    """Try one engine for at most ``seconds``; ``command`` replaces the child that tries it."""
    packages = installed_packages(engine.distributions)
    if command is None and not _is_installed(engine.module):
        return EngineReport(engine.module, engine.needed, "missing", packages=packages)
    start = time.monotonic()
    ended = run_bounded(command or module_command(CHILD, engine.module, *arguments), seconds)
    elapsed = round(time.monotonic() - start, 2)
    facts = _last_object(ended)
    problem = ended.problem or facts.pop("problem", None) or (None if facts else "printed no result")
    version = facts.pop("version", None) or next(iter(packages.values()), None)
    state: State = "broken" if problem else "works"
    return EngineReport(engine.module, engine.needed, state, version, packages, facts, problem, elapsed)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _last_object(ended: ProcessResult) -> dict[str, str]:
    """Parse the child's last line: native code may have written lines of its own before it."""
    lines = ended.output.strip().splitlines()
    with suppress(ValueError, IndexError):
        answer = json.loads(lines[-1])
        if isinstance(answer, dict):
            return {str(name): str(value) for name, value in answer.items()}
    return {}
