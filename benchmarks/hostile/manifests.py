"""``manifest.json``: read, and used as a device uses it before any engine opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.hostile.mutate import mutated_json
from emo_edge.benchmarks.hostile.small_bundle import small_config, small_contracts
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.bundle.face_crops import CropSettings, crop_face
from emo_edge.bundle.label_sets import ask_for_labels, resolve_labels
from emo_edge.bundle.manifest import FACE_TOKENS, MANIFEST_NAME, BundleFile, Manifest, Profile, Variant
from emo_edge.bundle.prompts import build_prompt
from emo_edge.bundle.reader import path_problem, read_manifest
from emo_edge.export.bundles.manifest import Contracts, bundle_manifest, network_manifest
from emo_edge.export.bundles.profiles import network_profiles
from emo_edge.export.configs.action_units import DISFA_UNITS, AuFormerConfig
from emo_edge.export.configs.checkpoint import AuNetworkConfig, FaceXFormerConfig
from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.onnx.export import COMPONENTS, component_contracts, unit_contracts
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.inference.prompt_layout import HEADS, demographics_of
from emo_edge.tensors import TensorSpec

MODEL = "emo-tiny"
FIGURES = {"label_agreement": 1.0, "kl_mean": 1e-6, "samples": 500.0}
SIDE = 28
BOX = (4.0, 4.0, 40.0, 40.0)


def _file(name: str) -> BundleFile:
    return BundleFile(path=name, size=1, sha256="0" * 64)


def _variants(part: str, *names: str) -> dict[str, Variant]:
    end = "gguf" if part == "language" else "onnx"
    return {name: Variant(files=(_file(f"{part}-{name}.{end}"),), evidence={"labels": FIGURES}) for name in names}


def _whole() -> Sequence[bytes]:
    """Write the manifests of emo-tiny, of its face network alone, of a network of labels and of one of units."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint(MODEL), stream=True)
    graphs = {part: component_contracts(model, part) for part in COMPONENTS}
    manifests = (_emo_llama(model, graphs), _face_alone(model, graphs["face"]), _labels_alone(), _units_alone())
    return [one.model_dump_json(indent=2).encode() for one in manifests]


def _emo_llama(model: EmoLlamaForConditionalGeneration, graphs: Mapping[str, Contracts]) -> Manifest:
    variants = {part: _variants(part, "fp32", "fp16") for part in graphs} | {
        "language": _variants("language", "f16", "q4_k_m")
    }
    profiles = {
        "exact": Profile(vision="fp32", connector="fp32", face="fp32", language="f16", evidence=FIGURES),
        "small": Profile(vision="fp16", connector="fp16", face="fp16", language="q4_k_m", evidence=FIGURES),
    }
    return bundle_manifest(model.config, graphs, variants, _file("tokenizer.json"), profiles, MODEL, {"purpose": "x"})


def _face_alone(model: EmoLlamaForConditionalGeneration, graph: Contracts) -> Manifest:
    assert model.config.face is not None
    inputs, outputs = graph
    own = inputs, tuple(spec for spec in outputs if spec.name != FACE_TOKENS)
    config = FaceXFormerConfig(face=model.config.face, action_units=model.config.action_units)
    return network_manifest(config, own, _variants("face", "fp32"), _profile_of_face(), "face", {})


def _labels_alone() -> Manifest:
    return network_manifest(
        small_config(), small_contracts(), _variants("face", "fp32"), _profile_of_face(), "labels", {}
    )


def _units_alone() -> Manifest:
    tower = VisionConfig(image_size=SIDE, patch_size=7, hidden_size=16, num_layers=1, num_heads=2, mlp_size=24)
    network = AuFormerConfig(units=DISFA_UNITS, intensity=True, tower=tower, image_size=SIDE)
    config = AuNetworkConfig(network=network, crop=CropSettings(method="square", size=SIDE, margin=0.1))
    contracts = (TensorSpec("image", "uint8", ("N", SIDE, SIDE, 3)),), unit_contracts(network)
    profiles = network_profiles(["fp32"], "au")
    return network_manifest(config, contracts, _variants("au", "fp32"), profiles, "units", {})


def _profile_of_face() -> dict[str, Profile]:
    return {"exact": Profile(vision=None, connector=None, face="fp32", language=None, evidence=FIGURES)}


def _read(path: Path) -> None:
    manifest, root = read_manifest(path.parent), path.parent
    manifest.model_dump_json()
    for file in manifest.files():
        path_problem(root, root / file.path)
    frame = np.zeros((48, 64, 3), np.uint8)
    for crop in (manifest.preprocessing.vision, manifest.preprocessing.face, manifest.preprocessing.au):
        if crop is not None:
            crop_face(frame, BOX, crop, manifest.detector)
    if manifest.label_sets:
        labels = resolve_labels(manifest, None)
        build_prompt(manifest.prompt, ask_for_labels(manifest, labels, clip=True), _demographics(manifest))


def _demographics(manifest: Manifest) -> str:
    rows = {name: np.zeros((1, len(getattr(manifest.face_labels, name))), np.float32) for name in HEADS}
    return demographics_of(manifest, rows, slice(0, 1), clip=False)


MANIFEST = Kind(MANIFEST_NAME, _whole, mutated_json, _read)
