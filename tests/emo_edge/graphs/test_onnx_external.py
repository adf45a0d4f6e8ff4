"""External files of an ONNX graph, found without the ``onnx`` package and compared with it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from emo_edge.graphs.onnx_external import external_locations


def outside(name: str, location: str) -> Any:
    tensor = numpy_helper.from_array(np.zeros((2, 2), np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def write(path: Path, initializers: list[Any], nodes: list[Any] | None = None) -> Path:
    graph = helper.make_graph(nodes or [], "toy", [], [], initializer=initializers)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_initializers_name_their_files(tmp_path: Path) -> None:
    inside = numpy_helper.from_array(np.ones((64, 64), np.float32), "inside")
    path = write(tmp_path / "g.onnx", [inside, outside("a", "weights.data"), outside("b", "../elsewhere")])
    assert external_locations(path) == {"weights.data", "../elsewhere"}


def test_constants_of_branches_name_their_files(tmp_path: Path) -> None:
    branch = helper.make_graph([], "branch", [], [], initializer=[outside("c", "branch.data")])
    nodes = [
        helper.make_node("Constant", [], ["k"], value=outside("k", "constant.data")),
        helper.make_node("If", ["k"], ["y"], then_branch=branch, else_branch=branch),
    ]
    assert external_locations(write(tmp_path / "g.onnx", [], nodes)) == {"constant.data", "branch.data"}


def test_a_node_that_loads_a_compiled_file_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="engine.bin")
    with pytest.raises(ValueError, match="EPContext"):
        external_locations(write(tmp_path / "g.onnx", [], [node]))


@pytest.mark.parametrize("content", [b"", b"\x07", b"\x3a\xff\x01", b"not an onnx file at all", b"\x08" + b"\xff" * 11])
def test_what_is_no_graph_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ONNX|EPContext"):
        external_locations(path)


def test_graphs_in_graphs_end(tmp_path: Path) -> None:
    content = b""
    for number in (6, 5, 1) * 40:
        content = bytes([number << 3 | 2]) + _size(len(content)) + content
    path = tmp_path / "g.onnx"
    path.write_bytes(b"\x3a" + _size(len(content)) + content)
    with pytest.raises(ValueError, match="deeper"):
        external_locations(path)


def _size(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


@given(st.binary(max_size=200), st.integers(0, 400))
def test_mutated_graphs_give_a_set_or_a_value_error(tmp_path_factory: Any, junk: bytes, at: int) -> None:
    path = tmp_path_factory.mktemp("mutated") / "g.onnx"
    whole = write(path, [outside("a", "weights.data")]).read_bytes()
    path.write_bytes(whole[:at] + junk + whole[at:])
    with contextlib.suppress(ValueError):
        assert isinstance(external_locations(path), set)


def test_every_graph_of_a_bundle_reads_as_onnx_reads_it(tiny_bundle: Path) -> None:
    for path in tiny_bundle.glob("*.onnx"):
        model = onnx.load(str(path), load_external_data=False)
        entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
        assert external_locations(path) == {entry.value for entry in entries if entry.key == "location"}
