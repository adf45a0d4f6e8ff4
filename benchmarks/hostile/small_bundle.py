"""A bundle of one small graph that gives labels: a folder that is made once for the process."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from emo_edge.bundle.manifest import LABEL_LOGITS, Profile, Variant
from emo_edge.bundle.writer import BundleWriter
from emo_edge.export.bundles.manifest import network_manifest
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.tensors import TensorSpec

LABELS = ("happiness", "sadness", "neutral")
GRAPH, PRECISION = "face-fp32.onnx", "fp32"
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Removed when the process ends."""


def kept_folder() -> Path:
    """Make a folder that lives as long as this process."""
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="emo-edge-hostile-"))
    return Path(_FOLDERS[-1].name)


@cache
def small_config() -> LabelNetworkConfig:
    """Return the settings of a network of three labels."""
    crop = {"method": "square", "size": 48, "margin": 0.25}
    network = {"image_size": 48}
    return LabelNetworkConfig.from_dict(
        {"network": network, "labels": LABELS, "label_sets": {"three": LABELS}, "crop": crop}
    )


def small_contracts() -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of the graph."""
    size = small_config().network.image_size
    return (
        (TensorSpec("image", "uint8", ("N", size, size, 3)),),
        (TensorSpec(LABEL_LOGITS, "float32", ("N", len(LABELS))),),
    )


def small_graph() -> bytes:
    """Write a graph that gives logits of a picture's mean colour."""
    (image,), (logits,) = small_contracts()
    weight = np.eye(len(LABELS), dtype=np.float32)
    nodes = [
        helper.make_node("Cast", [image.name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], [logits.name]),
    ]
    constants = [numpy_helper.from_array(np.array([1, 2]), "axes"), numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(image.name, TensorProto.UINT8, list(image.shape))],
        [helper.make_tensor_value_info(logits.name, TensorProto.FLOAT, list(logits.shape))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def write_small_bundle(target: Path, graph: bytes | None = None) -> Path:
    """Write the bundle, of `small_graph` or of another one."""
    with BundleWriter(target) as writer:
        path = writer.path(GRAPH)
        path.write_bytes(graph or small_graph())
        variants = {PRECISION: Variant(files=(writer.entry(path),))}
        profiles = {"exact": Profile(vision=None, connector=None, face=PRECISION, language=None)}
        writer.finish(network_manifest(small_config(), small_contracts(), variants, profiles, "small", {}))
    return target
