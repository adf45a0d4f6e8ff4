"""A network of YuNet's form, for tests of everything around the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def toy_yunet(path: Path) -> None:
    """Write a network with YuNet's inputs and outputs that always sees one face, at 8-pixel cell (20, 10)."""
    import onnx

    helper, values, outputs = onnx.helper, [onnx.numpy_helper.from_array(np.float32(0), "zero")], []
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    cell = [0, 0, np.log(4), np.log(6)]
    for kind, seen in (("cls", [1]), ("obj", [1]), ("bbox", cell), ("kps", [0] * 10)):
        for stride in (8, 16, 32):
            name, table = f"{kind}_{stride}", np.zeros((1, (320 // stride) ** 2, len(seen)), np.float32)
            if stride == 8:
                table[0, 10 * 40 + 20] = seen
            values.append(onnx.numpy_helper.from_array(table, f"{name}_value"))
            nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(table.shape)))
    picture = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 320, 320])
    graph = helper.make_graph(nodes, "toy", [picture], outputs, values)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )
