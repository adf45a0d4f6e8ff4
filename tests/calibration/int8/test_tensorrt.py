"""Every Q/DQ graph we write parses and builds in TensorRT: its RTX edition's builder needs no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from emo_edge.bundle.engine_settings import RowRange, axis_ranges, shape_ranges
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.graph_files import load_graph
from emo_edge.calibration.int8.qdq_graph import int8_from_float
from emo_edge.calibration.int8.ranges import observed_tensors
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import builder as engine_builder
from emo_edge.runtimes.tensorrt.build_config import EngineConfig
from emo_edge.tensors import TensorSpec

trt = pytest.importorskip("tensorrt_rtx", reason="waits for a system that the package tensorrt-rtx is made for")
LONGEST_QUESTION = 48


def built(path: Path, inputs: Sequence[TensorSpec]) -> tuple[bool, list[str], list[tuple[str, str]]]:
    """Tell whether there is a plan, what was complained of, and name and type of every output.

    In this process, because a builder that complains and still gives a plan is not an error to the child.
    """
    shapes = shape_ranges(inputs, axis_ranges(RowRange(), LONGEST_QUESTION))
    recipe, complaints = EngineConfig(str(path), "0" * 64, path.stem, shapes), list[str]()
    logger = tensorrt_api.complaints_logger(trt, complaints)
    builder = trt.Builder(logger)
    network, parser = engine_builder._parsed(trt, builder, logger, recipe)
    plan = builder.build_serialized_network(network, engine_builder._configured(trt, builder, recipe, None))
    found = [network.get_output(index) for index in range(network.num_outputs)]
    types = [(value.name, str(value.dtype)) for value in found]
    del parser
    return plan is not None, complaints, types


@pytest.mark.parametrize("kept", ["none", "half"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["vision", "connector", "face"])
def test_int8_builds_in_either_precision_with_any_share_kept(
    tiny_bundle: Path, tmp_path: Path, name: str, precision: str, kept: str
) -> None:
    bundle = Bundle.open(tiny_bundle)
    component = bundle.manifest.components.graph(name)
    full, source = (bundle.files(component.variants[each])[0] for each in ("fp32", precision))
    thresholds = dict.fromkeys(observed_tensors(load_graph(full)), 4.0)
    made = int8_from_float(source, tmp_path / "all.onnx", thresholds)
    if kept == "half":
        made = int8_from_float(source, tmp_path / "half.onnx", thresholds, keep=made.quantized[::2])
    inputs = [contract.spec() for contract in component.inputs]
    outputs = [(contract.name, "DataType.FLOAT") for contract in component.outputs]
    assert built(made.files[-1], inputs) == (True, [], outputs)


@pytest.mark.parametrize("massive", [None, 1])
def test_the_towers_of_the_other_tests_build(write_tower: Any, tmp_path: Path, massive: int | None) -> None:
    tower = write_tower(tmp_path / "a.onnx", depth=2, massive=massive)
    thresholds = dict.fromkeys(observed_tensors(load_graph(tower)), 4.0)
    made = int8_from_float(tower, tmp_path / "b.onnx", thresholds)
    assert built(made.files[0], [TensorSpec("x", "float32", ("N", 9, 32))]) == (
        True,
        [],
        [("features", "DataType.FLOAT")],
    )


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
    assert built(made.files[0], [TensorSpec("x", "float32", ("N", 3, 8, 8))]) == (
        True,
        [],
        [("features", "DataType.FLOAT")],
    )
