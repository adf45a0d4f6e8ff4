"""``emo-edge engines``: what is built, listed and cleared, on a machine with no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.bundle.reader import Bundle
from emo_edge.cli.diagnostics.engines import main
from emo_edge.runtimes.loading import device_choice
from emo_edge.runtimes.loading.engine_builds import profile_graphs
from emo_edge.runtimes.tensorrt.build_config import EngineConfig
from emo_edge.runtimes.tensorrt.engine_cache import EngineCache


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def kept_engine(graph: Path) -> str:
    shapes = {"x": ([1, 2], [1, 2], [1, 2])}
    recipe = EngineConfig(str(graph), "0" * 64, "vision fp16", shapes)
    machine = {"library": "tensorrt_rtx 1", "gpu": "none"}
    return EngineCache().engine(recipe, machine, modules=["tensorrt_rtx"]).key


def test_graphs_are_those_of_the_profiles_once(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    assert [str(graph) for graph in profile_graphs(bundle, ["exact"])] == ["vision fp32", "connector fp32", "face fp32"]
    assert len(profile_graphs(bundle)) == 6


def test_without_a_gpu_the_graphs_are_built_and_not_kept(tiny_bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
    result = run("build", str(tiny_bundle), "--profile", "exact", "--no-device")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["vision fp32", "connector fp32", "face fp32"]
    assert all(" builds in tensorrt_rtx " in line and line.endswith(" s; not run") for line in lines)
    assert run("list").stdout == "no engines; emo-edge engines build BUNDLE makes them\n"


def test_building_for_a_device_needs_one(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(device_choice.PROBLEMS, "tensorrt", lambda: "there is no CUDA device")
    result = run("build", str(tiny_bundle))
    assert result.exit_code == 6
    assert result.stderr == "Error: tensorrt cannot be used: there is no CUDA device; use --device cpu\n"


def test_an_unknown_profile_names_the_others(tiny_bundle: Path) -> None:
    result = run("build", str(tiny_bundle), "--profile", "fast")
    assert result.exit_code == 4
    assert "no profile 'fast' in this bundle; there are: exact" in result.stderr


def test_what_is_there_is_listed_and_cleared(small_onnx: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
    key = kept_engine(small_onnx)
    assert run("list").stdout.startswith(f"{key[:8]}  vision fp16 ")
    assert run("list").stdout.endswith("tensorrt_rtx 1 on none  not compared yet\n")
    assert run("clear", "zzz").exit_code == 4
    assert run("clear").exit_code == 2
    assert run("clear", key[:4], "--all").exit_code == 2
    assert run("clear", key[:4]).stdout.startswith("freed 0.")
    assert run("list").stdout.startswith("no engines")
    kept_engine(small_onnx)
    next((EngineCache().directory).glob("*/engine.plan")).write_bytes(b"")
    assert run("list").stdout == f"{key[:8]}  not usable: the one there is not as long as it was\n"
    assert run("clear", "--all").exit_code == 0


@pytest.fixture
def small_onnx(tmp_path: Path) -> Path:
    from emo_edge.diagnostics.trials.small_graph import SMALL_GRAPH

    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL_GRAPH)
    return path
