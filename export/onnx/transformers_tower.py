"""The graph of a tower that is transformers' own module, by optimum's exporter, with our front and layout.

Optimum traces the model as it would for any user. Added here: the picture in bytes, normalised inside the graph, the
names of inputs and outputs, constants folded and large weights kept apart, as in every other graph of a bundle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto, helper, numpy_helper

from emo_edge.errors import MissingExtraError

TASK = "feature-extraction"
PIXELS, HIDDEN = "pixel_values", "last_hidden_state"


def optimum_model(tower: Any, opset: int, mean: Sequence[float], std: Sequence[float], output: str) -> ir.Model:
    """Export a transformers vision model: ``image``, uint8 RGB [N, H, W, 3], to its last hidden state, ``output``.

    Args:
        tower: transformers' model; its size of pictures is fixed in the graph.
        opset: of the graph.
        mean: of the pixels in [0, 1], by channel.
        std: the same.
        output: name of the features.

    Raises MissingExtraError if optimum is not installed.
    """
    import onnxscript.optimizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tower.onnx")
        _exported(tower, path, opset)
        model = onnx.load(path)
    _rename_output(model, output)
    _add_front(model, tower.config.image_size, mean, std)
    graph: ir.Model = ir.from_proto(model)
    onnxscript.optimizer.optimize_ir(graph)
    return graph


def _exported(tower: Any, path: Path, opset: int) -> None:
    try:
        from optimum.exporters.onnx import export
        from optimum.exporters.tasks import TasksManager
    except ImportError as error:
        raise MissingExtraError(
            'this tower is exported by optimum-onnx. Run: pip install "emo-edge[export]"'
        ) from error
    constructor = TasksManager.get_exporter_config_constructor(
        "onnx", model=tower, task=TASK, library_name="transformers"
    )
    known = type(constructor(tower.config, task=TASK, float_dtype="fp32"))

    class FixedSize(known):  # type: ignore[misc, valid-type]
        """Optimum's own config of the model, with one size of pictures and the patches' states alone."""

        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            """Only the number of pictures varies."""
            return {PIXELS: {0: "N"}}

        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            """The pooled output is not read."""
            return {HIDDEN: {0: "N"}}

    export(tower, FixedSize(tower.config, task=TASK, float_dtype="fp32"), path, opset=opset, device="cpu")


def _rename_output(model: ModelProto, output: str) -> None:
    for node in model.graph.node:
        node.output[:] = [output if name == HIDDEN else name for name in node.output]
        node.input[:] = [output if name == HIDDEN else name for name in node.input]
    model.graph.output[0].name = output


def _add_front(model: ModelProto, side: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """Put bytes to normalised pixels, channels first, before the graph, in the order of operations of every tower."""
    constants = {"full": np.float32(255), "mean": np.asarray(mean, np.float32), "std": np.asarray(std, np.float32)}
    nodes = [
        helper.make_node("Cast", ["image"], ["image_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Div", ["image_float", "front_full"], ["image_unit"]),
        helper.make_node("Sub", ["image_unit", "front_mean"], ["image_centred"]),
        helper.make_node("Div", ["image_centred", "front_std"], ["image_scaled"]),
        helper.make_node("Transpose", ["image_scaled"], [PIXELS], perm=[0, 3, 1, 2]),
    ]
    graph = model.graph
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"front_{key}") for key, value in constants.items()
    )
    own = [*nodes, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(own)
    graph.input.append(helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["N", side, side, 3]))
