"""A graph is compiled in a process of its own; whatever happens there is one error here and no half file."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emo_edge.errors import DeviceError, DeviceMemoryError, EngineError, MissingExtraError
from emo_edge.runtimes.tensorrt import builder
from emo_edge.runtimes.tensorrt.build_config import EngineConfig, engine_key
from emo_edge.runtimes.tensorrt.builder import engine_from_onnx

pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
Recipes = Callable[..., EngineConfig]
RTX = ["tensorrt_rtx"]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_plan_appears_with_what_is_known_of_it(small_graph: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    target = tmp_path / "out" / "engine.plan"
    target.parent.mkdir()
    built = engine_from_onnx(recipe_of(small_graph), target, modules=RTX, progress=lambda *step: told.append(step))
    assert built.size == target.stat().st_size > 1000
    assert built.library.startswith("tensorrt_rtx 1.")
    assert told
    assert all(0 < share <= 1 and phase for share, phase in told)
    assert left(target.parent) == ["engine.plan"]


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x0a" * 50])
def test_a_graph_it_does_not_take_is_told(content: bytes, recipe_of: Recipes, tmp_path: Path) -> None:
    graph = tmp_path / "bad.onnx"
    graph.write_bytes(content)
    with pytest.raises(EngineError, match=r"^small fp32: .*use `device` cuda or cpu"):
        engine_from_onnx(recipe_of(graph), tmp_path / "engine.plan", modules=RTX)
    assert left(tmp_path) == ["bad.onnx"]


def test_inputs_that_are_not_described_are_named(small_graph: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    recipe = recipe_of(small_graph, shapes={"image": ([1, 4], [1, 4], [8, 4])})
    with pytest.raises(EngineError, match="the graph reads x, described are image"):
        engine_from_onnx(recipe, tmp_path / "engine.plan", modules=RTX)


def test_sizes_the_graph_cannot_have_are_an_error(small_graph: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    recipe = recipe_of(small_graph, shapes={"x": ([1, 5], [1, 5], [8, 5])})
    with pytest.raises(DeviceError, match="see emo-edge doctor"):
        engine_from_onnx(recipe, tmp_path / "engine.plan", modules=RTX)
    assert left(tmp_path) == ["small.onnx"]


def test_a_missing_tensorrt_names_the_extra(small_graph: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "emo-edge\[cuda\]"'):
        engine_from_onnx(recipe_of(small_graph), tmp_path / "engine.plan", modules=["no_such_tensorrt"])


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a disk that fills up while the plan is written; the child has the same limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_nothing(small_graph: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        engine_from_onnx(recipe_of(small_graph), tmp_path / "engine.plan", modules=RTX)
    assert left(tmp_path) == ["small.onnx"]


class Child:
    """A process that says what it is given and ends so."""

    def __init__(self, code: int) -> None:
        self.returncode = code


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ({"problem": "was ended by SIGKILL", "kind": "memory"}, DeviceMemoryError),
        ({"problem": "was ended by SIGSEGV", "kind": "died"}, DeviceError),
        ({"problem": "Cuda Runtime (out of memory)", "kind": "memory"}, DeviceMemoryError),
    ],
)
def test_how_a_child_ends_decides_the_error(
    last: dict[str, Any], kind: type[Exception], small_graph: Path, recipe_of: Recipes, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(builder, "_run_child", lambda order, progress: last)
    with pytest.raises(kind, match=last["problem"].replace("(", r"\(").replace(")", r"\)")):
        engine_from_onnx(recipe_of(small_graph), tmp_path / "engine.plan")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_is_killed_is_told(
    number: signal.Signals, small_graph: Path, recipe_of: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killing = f"import os, signal\nos.kill(os.getpid(), {int(number)})\n"
    (tmp_path / "no_such_rt.py").write_text(killing, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    expected = DeviceMemoryError if number is signal.SIGKILL else DeviceError
    with pytest.raises(expected, match=f"ended by {number.name}"):
        engine_from_onnx(recipe_of(small_graph), tmp_path / "engine.plan", modules=["no_such_rt"])


def test_complaints_of_memory_are_told_from_others() -> None:
    assert builder._kind(["[E] Error: Cuda Runtime (out of memory)"]) == "memory"
    assert builder._kind(["Could not find any implementation for node"]) == "build"


def test_the_key_changes_with_all_an_engine_depends_on(small_graph: Path, recipe_of: Recipes) -> None:
    machine = {"library": "tensorrt 10.3.0", "gpu": "Orin", "driver": "1"}
    keys = [engine_key(recipe_of(small_graph), machine | {name: "other"}) for name in machine]
    changes: list[dict[str, Any]] = [
        {"digest": "1" * 64}, {"name": "small fp16"}, {"workspace_mib": 1}, {"optimization_level": 1},
        {"shapes": {"x": ([1, 4], [2, 4], [8, 4])}},
    ]  # fmt: skip
    keys += [engine_key(recipe_of(small_graph, **change), machine) for change in changes]
    assert len({engine_key(recipe_of(small_graph), machine), *keys}) == 9
    assert engine_key(recipe_of(small_graph), machine) == engine_key(recipe_of(Path("elsewhere.onnx")), machine)
    assert EngineConfig.from_json(recipe_of(small_graph).to_json()) == recipe_of(small_graph)
