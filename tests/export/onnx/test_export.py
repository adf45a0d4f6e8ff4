"""Graphs against the PyTorch model on a toy of random weights: values, types, sizes of a batch, bytes."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.onnx import export, graph_file
from emo_edge.export.onnx.attention import TRANSLATIONS
from emo_edge.export.onnx.export import COMPONENTS, PRECISIONS, in_precision, onnx_from_component
from emo_edge.export.onnx.float16 import float16_from_full
from emo_edge.export.onnx.graph_file import Graph, Weight, save_graph
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import Tensor, TensorSpec

FULL_TOLERANCE = 1e-4
"""Largest difference as a share of the largest value."""
HALF_COSINE = 0.9995


@pytest.fixture(scope="module")
def full(toy_model: Any) -> dict[str, Graph]:
    return {component: onnx_from_component(toy_model, component) for component in COMPONENTS}


@pytest.fixture(scope="module")
def graphs(full: dict[str, Graph]) -> dict[tuple[str, str], Graph]:
    halves = {(component, "fp16"): float16_from_full(graph) for component, graph in full.items()}
    return {(component, "fp32"): graph for component, graph in full.items()} | halves


@pytest.fixture(scope="module")
def files(graphs: dict[tuple[str, str], Graph], tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    return {key: save_graph(graph, folder / f"{'-'.join(key)}.onnx")[0] for key, graph in graphs.items()}


def feed_of(model: Any, component: str, batch: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(batch)
    if component != "connector":
        size = {"vision": model.config.vision, "face": model.config.face}[component].image_size
        return {"image": rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)}
    length = 2 + batch
    mask = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
    vision = model.config.vision
    return {
        "features": rng.normal(size=(batch, 1 + vision.grid**2, vision.hidden_size)).astype(np.float32),
        "question_ids": rng.integers(0, model.config.connector.qformer.vocab_size, (batch, length)),
        "question_mask": mask,
    }


def reference(model: Any, component: str, feed: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        if component == "vision":
            return {"features": model.vision_features(feed["image"]).numpy()}
        if component == "connector":
            return {"visual_tokens": model.connector(*map(torch.from_numpy, feed.values())).numpy()}
        said = model.face_outputs(feed["image"], with_segmentation=False)
        values = {**said._asdict(), "face_tokens": model.face_info(said.face_map, said.landmarks)}
        del values["segmentation"], values["face_map"]
        return {name: part.numpy() for name, part in values.items()}


def assert_close(name: str, actual: Tensor, expected: Tensor, precision: str) -> None:
    assert actual.shape == expected.shape, name
    assert actual.dtype == np.float32, name
    if precision == "fp32":
        differences = np.abs(actual - expected)
        place = np.unravel_index(differences.argmax(), differences.shape)
        assert differences[place] <= FULL_TOLERANCE * np.abs(expected).max(), (name, place)
    else:
        a, b = actual.ravel().astype(np.float64), expected.ravel().astype(np.float64)
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= HALF_COSINE, name


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_graph_computes_what_the_model_does_for_any_batch(
    toy_model: Any, graphs: Any, files: Any, component: str, precision: str
) -> None:
    graph = graphs[component, precision]
    with OnnxSession(files[component, precision], graph.inputs, graph.outputs, threads=1) as session:
        for batch in (1, 2, 5):
            feed = feed_of(toy_model, component, batch)
            actual, expected = session.run(feed), reference(toy_model, component, feed)
            assert list(actual) == list(expected)
            for name, values in expected.items():
                assert_close(f"{name} of {batch}", actual[name], values, precision)


def test_attention_reads_no_shape_at_run_time(full: dict[str, Graph]) -> None:
    counts = Counter(node.op_type for node in full["vision"].model.graph.node)
    assert counts["Shape"] <= 1, "of the class token, which takes the batch's size"
    assert not counts["Slice"] and not counts["Squeeze"], "queries, keys and values are split"
    assert counts["Softmax"] == counts["Split"] == counts["Transpose"] // 4 > 0


def test_attention_that_is_not_exported_is_refused() -> None:
    (translation,) = TRANSLATIONS.values()
    with pytest.raises(NotImplementedError, match="causal mask"):
        translation(None, None, None, is_causal=True)


@torch.no_grad()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_clips_tower_and_bare_patches_do_so_too(
    build_model: Any, toy_config: Any, tmp_path: Path, precision: str
) -> None:
    vision = toy_config.vision.model_copy(update={"tower": "clip"})
    connector = toy_config.connector.model_copy(update={"compress_type": "none", "qformer": None})
    model = build_model(toy_config.model_copy(update={"vision": vision, "connector": connector}))
    graphs = {part: onnx_from_component(model, part, precision) for part in ("vision", "connector")}
    assert [spec.name for spec in graphs["connector"].inputs] == ["features"]
    for batch in (1, 2, 5):
        feed = feed_of(model, "vision", batch)
        features = model.vision_features(feed["image"])
        expected = {"vision": features.numpy(), "connector": model.connector(features).numpy()}
        feeds = {"vision": feed, "connector": {"features": features.numpy()}}
        for part, graph in graphs.items():
            path = save_graph(graph, tmp_path / f"{part}-{batch}.onnx")[0]
            with OnnxSession(path, graph.inputs, graph.outputs, threads=1) as session:
                (actual,) = session.run(feeds[part]).values()
            assert_close(part, actual, expected[part], precision)


def test_specs_say_what_each_graph_reads_and_returns(full: dict[str, Graph]) -> None:
    features = TensorSpec("features", "float32", ("N", 17, 16))
    assert full["vision"].inputs == (TensorSpec("image", "uint8", ("N", 28, 28, 3)),)
    assert full["vision"].outputs == (features,)
    question = [TensorSpec(name, "int64", ("N", "L")) for name in ("question_ids", "question_mask")]
    assert full["connector"].inputs == (features, *question)
    assert full["connector"].outputs == (TensorSpec("visual_tokens", "float32", ("N", 5, 32)),)
    assert full["face"].inputs == (TensorSpec("image", "uint8", ("N", 32, 32, 3)),)
    assert {spec.name: spec.shape[1:] for spec in full["face"].outputs} == {
        "landmarks": (68, 2),
        "pose": (3,),
        "attributes": (40,),
        "visibility": (29,),
        "age": (8,),
        "gender": (2,),
        "race": (5,),
        "face_tokens": (3, 32),
    }


def types_of(graph: Graph) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(graph.model, strict_mode=True, data_prop=True).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    return {
        **{value.name: value.type.tensor_type.elem_type for value in values},
        **{tensor.name: tensor.data_type for tensor in inferred.initializer},
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_products_are_in_the_precision_named_and_norms_in_float32(graphs: Any, component: str, precision: str) -> None:
    types = types_of(graphs[component, precision])
    read: dict[str, set[int]] = {}
    for node in graphs[component, precision].model.graph.node:
        read.setdefault(node.op_type, set()).update(types[name] for name in node.input if name)
    product = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    assert set.union(*(read.get(name, set()) for name in ("Conv", "Gemm", "MatMul"))) == {product}
    assert read["LayerNormalization"] == read["Softmax"] == {TensorProto.FLOAT}


def test_every_layer_norm_is_one_node(toy_model: Any, graphs: Any) -> None:
    parts = {"vision": [toy_model.vision], "face": [toy_model.face, toy_model.face_info]}
    unused = {id(toy_model.face.face_decoder.output_upscaling[1])}
    for component, modules in parts.items():
        norms = [
            part
            for module in modules
            for part in module.modules()
            if isinstance(part, torch.nn.LayerNorm) and id(part) not in unused
        ]
        for precision in PRECISIONS:
            counts = Counter(node.op_type for node in graphs[component, precision].model.graph.node)
            assert counts["LayerNormalization"] == len(norms)


def test_the_same_model_gives_the_same_bytes_that_tell_nothing_of_this_machine(
    toy_model: Any,
    full: dict[str, Graph],
    files: dict[Any, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    again = save_graph(onnx_from_component(toy_model, "vision", "fp16"), tmp_path / "again.onnx")[0].read_bytes()
    assert again == save_graph(float16_from_full(full["vision"]), tmp_path / "half.onnx")[0].read_bytes()
    for component in full:
        written = files[component, "fp32"].read_bytes()
        assert not [word for word in (b"eva_vit.py", b"stack_trace", b"site-packages") if word in written]
    assert capfd.readouterr() == ("", "")


def test_a_trace_that_other_tests_read_again_gives_the_same_files(
    toy_model: Any, full: dict[str, Graph], tmp_path: Path, tracing_once: Any
) -> None:
    for _ in range(2):
        with tracing_once():
            kept = onnx_from_component(toy_model, "vision")
    assert kept.weights.keys() == full["vision"].weights.keys()
    for precision in PRECISIONS:
        pair = [in_precision(graph, precision) for graph in (kept, full["vision"])]
        one, other = (save_graph(graph, tmp_path / f"{place}-{precision}.onnx") for place, graph in enumerate(pair))
        assert one[0].read_bytes() == other[0].read_bytes()


def test_a_model_without_face_info_has_no_face_tokens(build_model: Any, toy_config: Any, full: Any) -> None:
    model = build_model(toy_config.model_copy(update={"face_info": None}))
    module, _, outputs = export._PARTS["face"](model)
    assert outputs == full["face"].outputs[:-1]
    values = module(torch.from_numpy(feed_of(model, "face", 2)["image"]))
    assert [tuple(part.shape[1:]) for part in values] == [spec.shape[1:] for spec in outputs]


def test_large_weights_lie_beside_the_graph(
    toy_model: Any, full: dict[str, Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = full["vision"]
    before = graph.model.SerializeToString(deterministic=True)
    monkeypatch.setattr(graph_file, "EXTERNAL_BYTES", 1000)
    written = save_graph(graph, tmp_path / "vision.onnx")
    assert [path.name for path in written] == ["vision.onnx", "vision.onnx.data"]
    assert sorted(tmp_path.iterdir()) == written
    assert written[0].stat().st_mode == written[1].stat().st_mode
    assert graph.model.SerializeToString(deterministic=True) == before
    feed = feed_of(toy_model, "vision", 2)
    with OnnxSession(written[0], graph.inputs, graph.outputs, threads=1) as session:
        assert_close(
            "features", session.run(feed)["features"], reference(toy_model, "vision", feed)["features"], "fp32"
        )


@pytest.mark.parametrize("taken", ["a.onnx", "a.onnx.data"])
def test_a_file_is_not_overwritten(full: dict[str, Graph], tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(CheckpointError, match=f"{taken}: already exists"):
        save_graph(full["vision"], tmp_path / "a.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_unknown_words_and_other_models_are_refused(toy_model: Any, toy_config: Any, build_model: Any) -> None:
    with pytest.raises(InputError, match="'language' is not one of vision, connector, face"):
        onnx_from_component(toy_model, "language")
    with pytest.raises(InputError, match="'int8' is not one of fp32, fp16"):
        onnx_from_component(toy_model, "vision", "int8")
    with pytest.raises(InputError, match=r"float32 model, not torch\.bfloat16"):
        onnx_from_component(copy.deepcopy(toy_model).to(torch.bfloat16), "vision")
    faceless = build_model(toy_config.model_copy(update={"face": None, "face_info": None}))
    with pytest.raises(InputError, match="no face network"):
        onnx_from_component(faceless, "face")


def test_a_graph_shares_the_weights_of_its_model_and_casts_them_into_the_file(
    toy_model: Any, full: dict[str, Graph], tmp_path: Path
) -> None:
    half, parameters = float16_from_full(full["vision"]), dict(toy_model.vision.named_parameters())
    (name,) = [name for name in full["vision"].weights if name.endswith("patch_embed.proj.weight")]
    own = parameters["patch_embed.proj.weight"].detach()
    for graph in (full["vision"], half):
        assert sum(len(tensor.raw_data) for tensor in graph.model.graph.initializer) < 4096
        shared = [weight for weight in graph.weights.values() if np.shares_memory(weight.values, own.numpy())]
        assert len(shared) == 1
    assert full["vision"].weights[name].dtype == np.float32
    path = save_graph(half, tmp_path / "half.onnx")[0]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert set(half.weights) <= set(stored)
    assert np.array_equal(stored[f"{name}_fp16"], own.half().numpy())


@pytest.mark.parametrize("limit", [10**9, 1])
def test_a_transposed_weight_is_written_in_its_own_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(graph_file, "EXTERNAL_BYTES", limit)
    weight = Weight(np.arange(4, dtype=np.float32).reshape(2, 2).T, np.dtype(np.float32))
    made = hand_written([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], {})
    made.model.graph.initializer.append(graph_file.declared("w", weight))
    (stored,) = onnx.load(save_graph(replace(made, weights={"w": weight}), tmp_path / "a.onnx")[0]).graph.initializer
    assert np.array_equal(numpy_helper.to_array(stored), weight.values)


def hand_written(nodes: list[Any], weights: dict[str, Any]) -> Graph:
    graph = helper.make_graph(
        nodes,
        "hand_written",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in weights.items()],
    )
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), (), ())


def test_a_weight_beyond_half_precision_is_named() -> None:
    graph = hand_written([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": [[1, 0], [0, 1e5]]})
    with pytest.raises(CheckpointError, match="w: holds values beyond float16's range"):
        float16_from_full(graph)


def test_a_residual_stays_in_float32_and_a_bias_does_not() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["biased"]),
        helper.make_node("Relu", ["biased"], ["positive"]),
        helper.make_node("Add", ["x", "positive"], ["y"]),
    ]
    half = float16_from_full(hand_written(nodes, {"w": np.eye(2), "b": [1, 2]}))
    assert [(node.op_type, *node.input, *node.output) for node in half.model.graph.node] == [
        ("Cast", "x", "x_fp16"),
        ("MatMul", "x_fp16", "w_fp16", "product"),
        ("Add", "product", "b_fp16", "biased"),
        ("Relu", "biased", "positive"),
        ("Cast", "positive", "positive_fp32"),
        ("Add", "x", "positive_fp32", "y"),
    ]


def test_an_output_that_is_read_again_is_read_in_float32() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Softmax", ["y"], ["unused"]),
    ]
    half = float16_from_full(hand_written(nodes, {"w": np.eye(2)}))
    assert [(node.op_type, *node.input, *node.output) for node in half.model.graph.node] == [
        ("Cast", "x", "x_fp16"),
        ("MatMul", "x_fp16", "w_fp16", "y_fp16"),
        ("Cast", "y_fp16", "y"),
        ("Softmax", "y", "unused"),
    ]


def test_a_table_of_embeddings_is_a_weight() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["rows"]),
        helper.make_node("Gather", ["w", "rows"], ["read"]),
        helper.make_node("MatMul", ["x", "read"], ["y"]),
    ]
    half = float16_from_full(hand_written(nodes, {"w": np.eye(2)}))
    assert [(tensor.name, tensor.data_type) for tensor in half.model.graph.initializer] == [
        ("w_fp16", TensorProto.FLOAT16)
    ]
    assert [tuple(node.input) for node in half.model.graph.node if node.op_type == "Gather"] == [("w_fp16", "rows")]
