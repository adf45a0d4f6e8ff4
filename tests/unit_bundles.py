"""Bundles of a face graph of landmarks, pose and action units, whose outputs follow from a crop's mean colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from emo_edge.bundle.face_crops import CropSettings, Preprocessing
from emo_edge.bundle.manifest import (
    LABEL_LOGITS,
    OUTPUTS,
    UNIT_INTENSITY,
    UNIT_PRESENCE,
    ActionUnits,
    Components,
    GraphComponent,
    Manifest,
    Profile,
    TensorContract,
    Variant,
)
from emo_edge.bundle.prompts import FaceLabels, PromptConfig
from emo_edge.bundle.writer import BundleWriter

SIDE = 32
UNITS = (12, 1, 4)
"""Not in their order, as a network may have them."""
LABELS = ("happiness", "anger", "contempt")
SHAPES = {
    "landmarks": (68, 2),
    "pose": (3,),
    "attributes": (40,),
    "visibility": (29,),
    "age": (8,),
    "gender": (2,),
    "race": (5,),
}


def write_unit_bundle(
    target: Path,
    *,
    units: Sequence[int] = UNITS,
    intensities: bool = True,
    labels: Sequence[str] = (),
    geometry: bool = True,
) -> Path:
    """Write the bundle; it finds faces with the whole image, so that tests bring their own detector."""
    shapes = _shapes(len(units), intensities, len(labels), geometry=geometry)
    contracts = [TensorContract(name=name, dtype="float32", shape=("N", *shape)) for name, shape in shapes.items()]
    image = TensorContract(name="image", dtype="uint8", shape=("N", SIDE, SIDE, 3))
    with BundleWriter(target) as writer:
        path = writer.path("face-fp32.onnx")
        path.write_bytes(_graph(shapes))
        variants = {"fp32": Variant(files=(writer.entry(path),))}
        face = GraphComponent(inputs=(image,), outputs=tuple(contracts), variants=variants)
        writer.finish(
            Manifest(
                bundle_version=2 if units else 1,
                name="units",
                components=Components(vision=None, connector=None, face=face, language=None),
                preprocessing=Preprocessing(vision=None, face=CropSettings(method="stretched", size=SIDE, margin=0.0)),
                layout=(),
                prompt=PromptConfig(),
                label_sets={"own": tuple(labels)} if labels else {},
                face_labels=FaceLabels(expression=tuple(labels)),
                action_units=_section(units) if units else None,
                question_tokenizer=None,
                max_question_tokens=None,
                profiles={"exact": Profile(vision=None, connector=None, face="fp32", language=None)},
                default_profile="exact",
                detector="whole-image",
            )
        )
    return target


def _section(units: Sequence[int]) -> ActionUnits:
    return ActionUnits(source="face", units=tuple(units), thresholds=(0.5,) * len(units), network="drawn for tests")


def _shapes(units: int, intensities: bool, labels: int, *, geometry: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {name: SHAPES[name] for name in OUTPUTS["face"]} if geometry else {}
    shapes |= {UNIT_PRESENCE: (units,)} if units else {}
    shapes |= {UNIT_INTENSITY: (units,)} if units and intensities else {}
    return shapes | ({LABEL_LOGITS: (labels,)} if labels else {})


def _graph(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """Write a graph that multiplies the mean colour, in [0, 1], with a random matrix an output."""
    numbers = np.random.default_rng(3)
    constants = [
        numpy_helper.from_array(np.array([1, 2]), "axes"),
        numpy_helper.from_array(np.float32(255), "brightest"),
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(5), "high"),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "brightest"], ["colour"]),
    ]
    for name, shape in sorted(shapes.items()):
        scale = 5.0 if name in (UNIT_INTENSITY, UNIT_PRESENCE, LABEL_LOGITS) else 0.3
        weights = numbers.normal(0, scale, (3, int(np.prod(shape)))).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"{name}_weights")]
        constants += [numpy_helper.from_array(np.array([-1, *shape]), f"{name}_shape")]
        nodes.append(helper.make_node("MatMul", ["colour", f"{name}_weights"], [f"{name}_flat"]))
        last = f"{name}_shaped" if name == UNIT_INTENSITY else name
        nodes.append(helper.make_node("Reshape", [f"{name}_flat", f"{name}_shape"], [last]))
        if last != name:
            nodes.append(helper.make_node("Clip", [last, "low", "high"], [name]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in shapes.items()]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
    graph = helper.make_graph(nodes, "units", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())
