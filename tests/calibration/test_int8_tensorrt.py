"""Every Q/DQ graph we write parses and builds in TensorRT: its RTX edition's builder needs no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_edge.bundle import Bundle
from emo_edge.calibration.activation_ranges import observed_tensors
from emo_edge.calibration.graph_files import load_graph
from emo_edge.calibration.quantized_graph import int8_from_float
from emo_edge.manifest import GraphComponent

trt = pytest.importorskip("tensorrt_rtx", reason="waits for a system that the package tensorrt-rtx is made for")
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


def built(path: Path, shapes: dict[str, tuple[int | str, ...]]) -> tuple[bool, list[str], list[tuple[str, str]]]:
    """Tell whether there is a plan, what was complained of, and name and type of every output."""
    complaints = Complaints()
    builder = trt.Builder(complaints)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, complaints)
    parsed = parser.parse_from_file(str(path))
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, shape in shapes.items():
        sizes = [[SIZES[axis][place] if isinstance(axis, str) else axis for axis in shape] for place in range(3)]
        profile.set_shape(name, *sizes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    found = [network.get_output(index) for index in range(network.num_outputs)]
    return plan is not None, complaints.errors, [(value.name, str(value.dtype)) for value in found]


@pytest.mark.parametrize("kept", ["none", "half"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["vision", "connector", "face"])
def test_int8_builds_in_either_precision_with_any_share_kept(
    tiny_bundle: Path, tmp_path: Path, name: str, precision: str, kept: str
) -> None:
    bundle = Bundle.open(tiny_bundle)
    component: GraphComponent = getattr(bundle.manifest.components, name)
    full, source = (bundle.files(component.variants[each])[0] for each in ("fp32", precision))
    thresholds = dict.fromkeys(observed_tensors(load_graph(full)), 4.0)
    made = int8_from_float(source, tmp_path / "all.onnx", thresholds)
    if kept == "half":
        made = int8_from_float(source, tmp_path / "half.onnx", thresholds, keep=made.quantized[::2])
    shapes = {contract.name: contract.shape for contract in component.inputs}
    outputs = [(contract.name, "DataType.FLOAT") for contract in component.outputs]
    assert built(made.files[-1], shapes) == (True, [], outputs)


@pytest.mark.parametrize("massive", [None, 1])
def test_the_towers_of_the_other_tests_build(write_tower: Any, tmp_path: Path, massive: int | None) -> None:
    tower = write_tower(tmp_path / "a.onnx", depth=2, massive=massive)
    thresholds = dict.fromkeys(observed_tensors(load_graph(tower)), 4.0)
    made = int8_from_float(tower, tmp_path / "b.onnx", thresholds)
    assert built(made.files[0], {"x": ("N", 9, 32)}) == (True, [], [("features", "DataType.FLOAT")])


def test_convolutions_and_either_gemm_build(write_graph: Any, tmp_path: Path) -> None:
    import numpy as np
    from onnx import helper

    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["conv"], strides=[2, 2]),
        helper.make_node("Flatten", ["conv"], ["flat"]),
        helper.make_node("Gemm", ["flat", "wide", "wide_bias"], ["gemm"]),
        helper.make_node("Gemm", ["gemm", "turned", "wide_bias"], ["features"], transB=1),
    ]
    shapes = {"kernel": (4, 3, 2, 2), "bias": (4,), "wide": (64, 8), "wide_bias": (8,), "turned": (8, 8)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    source = write_graph(tmp_path / "a.onnx", nodes, weights, shape=(3, 8, 8), result=(8,))
    made = int8_from_float(source, tmp_path / "b.onnx", {"x": 2.0, "flat": 3.0, "gemm": 4.0})
    assert len(made.quantized) == 3
    assert built(made.files[0], {"x": ("N", 3, 8, 8)}) == (True, [], [("features", "DataType.FLOAT")])
