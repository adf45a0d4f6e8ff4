"""ONNX Runtime's errors while it computes: one that names the graph, whatever a bundle's other files made it read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_edge.errors import CheckpointError
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import TensorSpec


def test_a_token_beyond_the_embedding_table_is_one_error(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    table = numpy_helper.from_array(np.zeros((5, 2), np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"])]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N"])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph(nodes, "lookup", [ids], [rows], [table])
    path = tmp_path / "lookup.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10), path)
    inputs, outputs = [TensorSpec("ids", "int64", ("N",))], [TensorSpec("rows", "float32", ("N", 2))]
    with OnnxSession(path, inputs, outputs, device="cpu") as session:
        assert session.run({"ids": np.array([4])})["rows"].shape == (1, 2)
        with pytest.raises(CheckpointError, match=r"lookup\.onnx: the graph cannot compute this.*idx=5"):
            session.run({"ids": np.array([5])})
