"""The files of a bundle parse and build in TensorRT: its RTX edition's builder needs no GPU, and is strongly typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_edge.bundle import Bundle
from emo_edge.export.onnx_graphs import COMPONENTS, PRECISIONS
from emo_edge.manifest import GraphComponent

trt = pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
SIZES = {"N": (1, 2, 8), "L": (1, 12, 48)}
"""Smallest, likeliest and largest size of each varying axis."""


class Complaints(trt.ILogger):  # type: ignore[misc]
    """Keep errors, print nothing."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


def dynamic(builder: Any, component: GraphComponent) -> Any:
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for contract in component.inputs:
        sizes = [
            [SIZES[axis][place] if isinstance(axis, str) else axis for axis in contract.shape] for place in range(3)
        ]
        profile.set_shape(contract.name, *sizes)
    config.add_optimization_profile(profile)
    return config


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", COMPONENTS)
def test_a_file_builds_strongly_typed_with_a_dynamic_batch(tiny_bundle: Path, name: str, precision: str) -> None:
    bundle = Bundle.open(tiny_bundle)
    component: GraphComponent = getattr(bundle.manifest.components, name)
    complaints = Complaints()
    builder = trt.Builder(complaints)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, complaints)
    parsed = parser.parse_from_file(str(bundle.files(component.variants[precision])[0]))
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    plan = builder.build_serialized_network(network, dynamic(builder, component))
    assert complaints.errors == []
    assert plan is not None
    found = [network.get_output(index) for index in range(network.num_outputs)]
    shapes = {value.name: (str(value.dtype), tuple(value.shape)) for value in found}
    assert shapes == {output.name: ("DataType.FLOAT", (-1, *output.shape[1:])) for output in component.outputs}
