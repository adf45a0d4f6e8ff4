"""The files of a bundle parse and build in TensorRT: its RTX edition's builder needs no GPU, and is strongly typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.bundle.reader import Bundle
from emo_edge.export.onnx.export import COMPONENTS, PRECISIONS
from emo_edge.runtimes.loading.tensorrt_graphs import engine_recipe
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import builder as engine_builder

trt = pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", COMPONENTS)
def test_a_file_builds_strongly_typed_with_a_dynamic_batch(tiny_bundle: Path, name: str, precision: str) -> None:
    bundle = Bundle.open(tiny_bundle)
    component = bundle.manifest.components.graph(name)
    recipe = engine_recipe(bundle, name, component, precision)
    assert recipe.shapes[component.inputs[0].name][0][0] == 1 < recipe.shapes[component.inputs[0].name][2][0]
    complaints: list[str] = []
    # In this process, because a builder that complains and still gives a plan is not an error to the child.
    logger = tensorrt_api.complaints_logger(trt, complaints)
    builder = trt.Builder(logger)
    network, parser = engine_builder._parsed(trt, builder, logger, recipe)
    plan = builder.build_serialized_network(network, engine_builder._configured(trt, builder, recipe, None))
    assert complaints == []
    assert plan is not None
    found = [network.get_output(index) for index in range(network.num_outputs)]
    shapes = {value.name: (str(value.dtype), tuple(value.shape)) for value in found}
    assert shapes == {output.name: ("DataType.FLOAT", (-1, *output.shape[1:])) for output in component.outputs}
    del parser


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_devices_own_builder_makes_an_engine_of_it(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    bundle = Bundle.open(tiny_bundle)
    recipe = engine_recipe(bundle, name, bundle.manifest.components.graph(name), "fp16")
    built = engine_builder.engine_from_onnx(recipe, tmp_path / "engine.plan", modules=[trt.__name__])
    assert built.size == (tmp_path / "engine.plan").stat().st_size > 10_000
