"""Optimised copies of graphs: the same numbers, bounded in size, and none that this machine did not make."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.runtimes import onnx, onnx_copies
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.runtimes.onnx_copies import OptimisedCopies, small_graph
from emo_edge.tensors import Tensor

GRAPH = b"a graph"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "emo-edge" / "graphs"


def outputs(bundle: Bundle, part: str, variant: str) -> dict[str, Tensor]:
    component = bundle.manifest.components.graphs()[part]
    assert isinstance(component, GraphComponent)
    ports = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
    with OnnxSession(bundle.files(component.variants[variant])[0], *ports, threads=1) as session:
        return session.run(ReferenceFeeds(bundle, samples=1).feed(part))


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
def test_a_copy_computes_the_same_bits(
    tiny_bundle: Path, variant: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(tiny_bundle)
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "user_copies", lambda: None)
        plain = outputs(bundle, "vision", variant)
    assert not cache.exists()
    for _ in range(2):
        copied = outputs(bundle, "vision", variant)
        assert all(np.array_equal(copied[name], value) for name, value in plain.items())
    (copy,) = cache.glob("*.onnx")
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_changed_copy_is_optimised_again(tiny_bundle: Path, cache: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    first = outputs(bundle, "vision", "fp32")
    (copy,) = cache.glob("*.onnx")
    content = copy.read_bytes()
    copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = outputs(bundle, "vision", "fp32")
    assert all(np.array_equal(again[name], value) for name, value in first.items())
    assert copy.read_bytes() == content


def test_a_copy_that_cannot_be_opened_is_left_aside(
    tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(tiny_bundle)
    monkeypatch.setattr(OptimisedCopies, "read", lambda *_: b"no graph, though sealed")
    assert outputs(bundle, "vision", "fp32")


def test_only_this_machines_own_copies_are_read(tmp_path: Path) -> None:
    ours, theirs = OptimisedCopies(tmp_path / "ours"), OptimisedCopies(tmp_path / "theirs")
    for one in (ours, theirs):
        one.write("key", GRAPH)
    assert ours.read("key") == GRAPH and ours.read("other") is None
    (tmp_path / "ours" / "key.onnx").write_bytes((tmp_path / "theirs" / "key.onnx").read_bytes())
    assert ours.read("key") is None, "sealed elsewhere"
    ours.write("key", GRAPH)
    (tmp_path / "ours" / "key.onnx").rename(tmp_path / "ours" / "other.onnx")
    assert ours.read("other") is None, "of another graph"


def test_the_copies_unused_for_longest_go(tmp_path: Path) -> None:
    copies = OptimisedCopies(tmp_path, kept=3 * 200)
    (tmp_path / ".left.partial").write_bytes(b"x" * 200)
    os.utime(tmp_path / ".left.partial", (0, 0))
    for age, name in enumerate("abc", 1):
        copies.write(name, b"g" * 100)
        os.utime(tmp_path / f"{name}.onnx", (age, age))
    assert copies.read("a")
    copies.write("d", b"g" * 100)
    assert sorted(path.name for path in tmp_path.glob("*")) == [".secret", "a.onnx", "c.onnx", "d.onnx"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    copies = OptimisedCopies(tmp_path / "file" / "graphs")
    copies.write("key", GRAPH)
    assert copies.read("key") is None
    assert copies.saved(lambda path: path.write_bytes(GRAPH)) is None  # type: ignore[arg-type, return-value]


def test_what_was_saved_leaves_no_file(tmp_path: Path) -> None:
    copies = OptimisedCopies(tmp_path)
    assert copies.saved(lambda path: path.write_bytes(GRAPH) and None) == GRAPH
    assert not list(tmp_path.iterdir())


def test_large_graphs_and_those_with_other_files_have_no_copy(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Bundle.open(tiny_bundle).directory / "connector-fp32.onnx"
    assert small_graph(graph) == graph.read_bytes()
    assert small_graph(tmp_path / "absent") is None
    monkeypatch.setattr(onnx_copies, "external_locations", lambda path: {"weights.data"})
    assert small_graph(graph) is None
    monkeypatch.undo()
    monkeypatch.setattr(onnx_copies, "LARGEST", graph.stat().st_size - 1)
    assert small_graph(graph) is None
