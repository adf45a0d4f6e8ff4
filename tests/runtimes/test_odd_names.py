"""Engines and model libraries in a folder whose name is not UTF-8."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.calibration.int8.graph_files import GraphRun, load_graph, save_model
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.runtimes.openvino import OpenVinoSession
from emo_edge.tensors import TensorSpec

SPECS = [TensorSpec("x", "float32", ("N", 64))], [TensorSpec("y", "float32", ("N", 64))]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("waits for a file system of bytes")
    return folder


@pytest.fixture
def graph(odd: Path) -> Path:
    """A matmul by two whose weight lies in a file of its own."""
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32) * 2, "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy"]
    whole = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "toy", ends[:1], ends[1:], [weight])
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    plain = odd.parent / "plain"
    plain.mkdir()
    onnx.save_model(model, str(plain / "g.onnx"), save_as_external_data=True, location="g.onnx.data", size_threshold=0)
    for path in plain.iterdir():
        shutil.copy(path, odd)
    return odd / "g.onnx"


@pytest.mark.parametrize("engine", [OnnxSession, OpenVinoSession])
def test_a_graph_and_the_weights_beside_it_are_opened(graph: Path, engine: type[TensorSession]) -> None:
    with engine(graph, *SPECS) as session:  # type: ignore[call-arg]
        assert session.run({"x": np.ones((2, 64), np.float32)})["y"].tolist() == [[2.0] * 64] * 2


def test_a_graph_is_changed_and_written(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_edge.calibration.int8.graph_files.EXTERNAL_BYTES", 100)
    written = save_model(load_graph(graph), graph.parent, graph.with_name("again.onnx"))
    assert sorted(path.name for path in written) == ["again.onnx", "again.onnx.data"]
    again = GraphRun(load_graph(written[0]), graph.parent)
    assert again.run({"x": np.ones((1, 64), np.float32)})["y"].tolist() == [[2.0] * 64]


def test_a_checkpoint_is_read_and_written(odd: Path) -> None:
    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

    shutil.copytree(packaged_checkpoint(), odd / "tiny")
    model = EmoLlamaForConditionalGeneration.from_pretrained(odd / "tiny")
    model.save_pretrained(odd / "again")
    again = EmoLlamaForConditionalGeneration.from_pretrained(odd / "again")
    assert all(value.equal(again.state_dict()[name]) for name, value in model.state_dict().items())


def test_weights_of_torch_are_mapped(odd: Path) -> None:
    import torch

    from emo_edge.export.reference.tensor_files import tensors_of_file

    torch.save({"a": torch.ones(3)}, odd / "w.bin")
    with ExitStack() as stack:
        assert tensors_of_file(odd / "w.bin", stack)["a"].read().tolist() == [1, 1, 1]


def test_llama_cpp_opens_a_gguf(odd: Path) -> None:
    from emo_edge.export.configs.checkpoint import EmoLlamaConfig
    from emo_edge.export.gguf.writer import gguf_from_checkpoint
    from emo_edge.runtimes.llama_cpp.session import LlamaSession

    config = EmoLlamaConfig.from_pretrained(packaged_checkpoint()).language
    path = gguf_from_checkpoint(packaged_checkpoint(), config, odd / "f32.gguf", file_type="f32", name="toy")
    with LlamaSession(path, context_size=64) as session:
        session.prefill([[1, 5, 7]])
        assert len(session.score([[5]])) == 1
