"""Every graph parses and builds in TensorRT: its RTX edition's builder needs no GPU, and is strongly typed."""

from __future__ import annotations

from typing import Any

import pytest
import tensorrt_rtx as trt

from emo_edge.export.onnx_graphs import COMPONENTS, PRECISIONS, Graph, half_from_full, onnx_from_component

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


@pytest.fixture(scope="module")
def full(toy_model: Any) -> dict[str, Graph]:
    return {component: onnx_from_component(toy_model, component) for component in COMPONENTS}


def dynamic(builder: Any, graph: Graph) -> Any:
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for spec in graph.inputs:
        sizes = [[SIZES[axis][place] if isinstance(axis, str) else axis for axis in spec.shape] for place in range(3)]
        profile.set_shape(spec.name, *sizes)
    config.add_optimization_profile(profile)
    return config


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_graph_builds_strongly_typed_with_a_dynamic_batch(
    full: dict[str, Graph], component: str, precision: str
) -> None:
    graph = full[component] if precision == "fp32" else half_from_full(full[component])
    complaints = Complaints()
    builder = trt.Builder(complaints)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, complaints)
    parsed = parser.parse(graph.model.SerializeToString())
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    plan = builder.build_serialized_network(network, dynamic(builder, graph))
    assert complaints.errors == []
    assert plan is not None
    found = [network.get_output(index) for index in range(network.num_outputs)]
    shapes = {value.name: (str(value.dtype), tuple(value.shape)) for value in found}
    assert shapes == {spec.name: ("DataType.FLOAT", (-1, *spec.shape[1:])) for spec in graph.outputs}
