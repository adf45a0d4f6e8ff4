"""Graphs of action units against PyTorch: float32, float16, sizes of a batch, operators that TensorRT takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_edge.bundle.manifest import UNIT_INTENSITY, UNIT_PRESENCE
from emo_edge.export.models.action_units.auformer import AuFormer
from emo_edge.export.models.action_units.sacl import UnitOutputs
from emo_edge.export.models.facexformer import FaceXFormer
from emo_edge.export.onnx.export import in_precision, onnx_from_auformer, onnx_from_face_and_units
from emo_edge.export.onnx.graph_file import Graph, save_graph
from emo_edge.export.reference.frames import normalised_pixels
from emo_edge.runtimes.onnx import OnnxSession
from tests.export.models.action_units.test_auformer import random_model
from tests.export.models.action_units.test_sacl import FACE
from tests.export.models.action_units.test_sacl import random_model as random_sacl

REFUSED = {"Einsum", "Loop", "If", "Scan", "ScatterND", "ScatterElements", "NonZero"}
"""Operators of a side path that is not folded, and of shapes that depend on data."""
TOLERANCE = 1e-4
Computes = Callable[[np.ndarray], UnitOutputs]


def random_face() -> FaceXFormer:
    torch.manual_seed(2)
    return FaceXFormer(FACE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def auformer() -> tuple[Graph, Computes, int]:
    model: AuFormer = random_model()
    tower = model.config.tower

    def compute(crops: np.ndarray) -> UnitOutputs:
        outputs: UnitOutputs = model(normalised_pixels(torch.from_numpy(crops), tower.image_mean, tower.image_std))
        return outputs

    return onnx_from_auformer(model), compute, tower.image_size


@pytest.fixture(scope="module")
def face_with_units() -> tuple[Graph, Computes, int]:
    face, units = random_face(), random_sacl()

    def compute(crops: np.ndarray) -> UnitOutputs:
        pixels = normalised_pixels(torch.from_numpy(crops), FACE.image_mean, FACE.image_std)
        outputs: UnitOutputs = units(face.backbone(pixels))
        return outputs

    return onnx_from_face_and_units(FACE, face, units), compute, FACE.image_size


@pytest.mark.parametrize("name", ["auformer", "face_with_units"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_onnx_runtime_computes_what_pytorch_does(
    name: str, precision: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    graph, compute, side = request.getfixturevalue(name)
    (path, *_) = save_graph(in_precision(graph, precision), tmp_path / "graph.onnx")
    with OnnxSession(path, graph.inputs, graph.outputs) as session:
        for count in (1, 3):
            crops = np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
            outputs, expected = session.run({"image": crops}), compute(crops)
            assert expected.intensity is not None
            for output, values in ((UNIT_PRESENCE, expected.presence), (UNIT_INTENSITY, expected.intensity)):
                assert outputs[output].shape == (count, values.shape[1])
                scale = float(values.abs().max())
                limit = TOLERANCE * scale if precision == "fp32" else 0.02 * scale
                np.testing.assert_allclose(outputs[output], values.numpy(), atol=limit, rtol=0)


@pytest.mark.parametrize("name", ["auformer", "face_with_units"])
def test_shapes_do_not_depend_on_data_and_nothing_multiplies_weights(name: str, request: pytest.FixtureRequest) -> None:
    graph, _, _ = request.getfixturevalue(name)
    assert not {node.op_type for node in graph.model.graph.node} & REFUSED


def test_the_other_outputs_stay_as_they_are(face_with_units: tuple[Graph, Computes, int], tmp_path: Path) -> None:
    graph, _, side = face_with_units
    assert [spec.name for spec in graph.outputs][-2:] == [UNIT_PRESENCE, UNIT_INTENSITY]
    crops = np.random.default_rng(4).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    outputs = random_face()(normalised_pixels(torch.from_numpy(crops), FACE.image_mean, FACE.image_std))
    (path, *_) = save_graph(graph, tmp_path / "graph.onnx")
    with OnnxSession(path, graph.inputs, graph.outputs) as session:
        computed = session.run({"image": crops})
    for name in ("landmarks", "pose", "attributes", "race"):
        np.testing.assert_allclose(computed[name], getattr(outputs, name), atol=1e-4, rtol=1e-4)
