"""A network of YuNet's form, for tests of everything around the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

STRIDES = (8, 16, 32)
BOX = (0.0, 0.0, np.log(4), np.log(6))
"""Of a face around its cell: 4 by 6 cells."""


def toy_yunet(path: Path, *, fixed: bool = False) -> None:
    """Write a network of YuNet's form that sees a face, 32 by 48 pixels, at each white cell of 8 pixels.

    ``fixed`` gives it outputs of one size, whatever the picture's.
    """
    import onnx

    helper, values, nodes, outputs = onnx.helper, [], [], []
    for kind, bias in (("cls", (0.0,)), ("obj", (1.0,)), ("bbox", BOX), ("kps", (0.0,) * 10)):
        for stride in STRIDES:
            name, width = f"{kind}_{stride}", len(bias)
            # Score by the mean of the cell, which only the finest stride looks at.
            seen = 1 / (255 * 3 * stride**2) if (kind, stride) == ("cls", 8) else 0.0
            weights = {
                f"{name}_w": np.full((width, 3, stride, stride), seen, np.float32),
                f"{name}_b": np.array(bias, np.float32),
                f"{name}_shape": np.array([1, -1, width]),
            }
            values += [onnx.numpy_helper.from_array(value, key) for key, value in weights.items()]
            nodes += [
                helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_map"], strides=[stride] * 2),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_rows"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_rows", f"{name}_shape"], [name]),
            ]
            cells = (320 // stride) ** 2
            outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, cells, width]))
    if fixed:
        values, nodes = _constant_outputs(outputs)
    picture = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 320, 320])
    graph = helper.make_graph(nodes, "toy", [picture], outputs, values)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )


def _constant_outputs(outputs: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return weights and nodes that give zeros of the declared sizes."""
    import onnx

    helper = onnx.helper
    values = [onnx.numpy_helper.from_array(np.float32(0), "zero")]
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    for output in outputs:
        shape = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        values.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), f"{output.name}_value"))
        nodes.append(helper.make_node("Add", [f"{output.name}_value", "nothing"], [output.name]))
    return values, nodes
