"""Checkpoints with action units to bundles of version 2; those without stay version 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import emo_edge
from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.face_crops import crop_face
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.bundles.face_network import bundle_from_face_network
from emo_edge.export.configs.action_units import SaclConfig
from emo_edge.export.configs.checkpoint import EmoLlamaConfig, FaceXFormerConfig
from emo_edge.export.onnx.export import component_contracts, onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.face_network import FaceNetwork, face_network_shapes
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import reference_on
from emo_edge.export.reference.weights import save_weights
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.runtimes.onnx import OnnxSession
from tests.export.models.action_units.test_sacl import FACE

UNITS = SaclConfig(
    units=(1, 4, 12, 25), intensity=True, hidden_size=8, neighbours=2, thresholds=(0.3, 0.5, 0.625, 0.7)
)  # fmt: skip
Tracing = Callable[[], AbstractContextManager[None]]


def face_checkpoint(directory: Path, units: SaclConfig | None) -> Path:
    torch.manual_seed(0)
    config = FaceXFormerConfig(face=FACE, action_units=units)
    network = FaceNetwork(config)
    for part in network.parameters():
        part.data += 0.1 * torch.randn_like(part)
    config.save_pretrained(directory)
    save_weights(network, directory)
    return directory


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_checkpoint(tmp_path_factory.mktemp("face-units"), UNITS)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tracing_once: Tracing, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    with tracing_once():
        return bundle_from_face_network(
            checkpoint, tmp_path_factory.mktemp("bundle") / "new", ("fp32", "fp16"), packaged_samples(7)
        )


@pytest.fixture(scope="module")
def model(build_model: Callable[..., Any], toy_config: EmoLlamaConfig) -> EmoLlamaForConditionalGeneration:
    built: EmoLlamaForConditionalGeneration = build_model(toy_config.model_copy(update={"action_units": UNITS}))
    return built


def test_a_face_networks_bundle_has_the_section_and_its_evidence(bundle: Bundle) -> None:
    manifest = Bundle.open(bundle.directory).manifest
    assert manifest.bundle_version == 2
    section, face = manifest.action_units, manifest.components.face
    assert section is not None and face is not None
    assert (section.units, section.thresholds) == (UNITS.units, UNITS.thresholds)
    assert "reconstruction" in section.network
    assert [output.name for output in face.outputs][-2:] == ["au_presence", "au_intensity"]
    for variant in face.variants.values():
        evidence = variant.evidence["action units"]
        assert evidence["au_agreement"] >= 0.995 and evidence["samples"] == 7
        assert {"au_presence", "au_intensity"} <= variant.evidence.keys()


def test_the_pipeline_reads_what_pytorch_computes(bundle: Bundle, checkpoint: Path) -> None:
    sample = packaged_samples(1)[0]
    with EmotionPipeline.open(bundle.directory, device="cpu", profile="exact", detector=WholeImage()) as pipeline:
        (result,) = pipeline.read(sample.image, boxes=[sample.box] if sample.box else None)
        crop = pipeline.manifest.preprocessing.face
    assert crop is not None
    network = FaceNetwork.from_pretrained(checkpoint)
    outputs = network.graph_outputs(crop_face(sample.image, sample.box, crop).pixels[None])
    assert list(result.action_units) == ["AU1", "AU4", "AU12", "AU25"]
    for place, unit in enumerate(result.action_units.values()):
        probability = 1 / (1 + np.exp(-float(outputs["au_presence"][0, place])))
        assert unit.presence == pytest.approx(probability, abs=1e-4)
        assert unit.active == (unit.presence >= UNITS.thresholds[place])
        assert unit.intensity == pytest.approx(float(outputs["au_intensity"][0, place]), abs=1e-3)


def test_the_trunk_runs_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = FaceNetwork.from_pretrained(checkpoint)
    real, calls = network.face.backbone.forward, []
    monkeypatch.setattr(network.face.backbone, "forward", lambda pixels: calls.append(1) or real(pixels))
    outputs = network.graph_outputs(np.zeros((2, FACE.image_size, FACE.image_size, 3), np.uint8))
    assert len(calls) == 1 and outputs["au_presence"].shape == outputs["au_intensity"].shape == (2, 4)


@pytest.mark.usefixtures("traced_once")
def test_a_precision_that_flips_decisions_is_left_out(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_edge.export.onnx import verify

    real = verify.run_in_batches

    def shifted(*arguments: Any, **options: Any) -> Any:
        outputs = real(*arguments, **options)
        return {**outputs, "au_presence": outputs["au_presence"] * np.float32(-1)}

    monkeypatch.setattr(verify, "run_in_batches", shifted)
    with pytest.raises(AccuracyGateError, match=r"face fp16: au_agreement 0\.\d+, the gate is 0\.995"):
        bundle_from_face_network(checkpoint, tmp_path / "new", ("fp16",), packaged_samples(4))


@pytest.mark.usefixtures("traced_once")
def test_a_checkpoint_without_units_gives_version_1(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    plain = face_checkpoint(tmp_path / "checkpoint", None)
    assert "units" not in (plain / "config.json").read_text(encoding="utf-8")
    written = bundle_from_face_network(plain, tmp_path / "new", ("fp32",), packaged_samples(2))
    text = (written.directory / "manifest.json").read_text(encoding="utf-8")
    assert written.manifest.bundle_version == 1 and "action_units" not in text and "au_" not in text
    schema = Path(emo_edge.__file__).parent / "schemas" / "manifest-1.json"
    jsonschema.validate(json.loads(text), json.loads(schema.read_text(encoding="utf-8")))


def test_the_units_weights_have_names_of_their_own() -> None:
    config = FaceXFormerConfig(face=FACE, action_units=UNITS)
    more = face_network_shapes(config).keys() - face_network_shapes(FaceXFormerConfig(face=FACE)).keys()
    assert more and all(name.startswith("units.") for name in more)


@torch.no_grad()
def test_a_whole_model_keeps_them_through_save_load_and_frames(
    model: EmoLlamaForConditionalGeneration, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "saved")
    again = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "saved")
    assert again.config == model.config
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    vision = np.zeros((3, 28, 28, 3), np.uint8)
    features = again.encode_crops(vision, crops)
    assert features.units is not None and again.face is not None and again.units is not None
    expected = again.units(again.face.backbone(again.face_pixels(crops)))
    torch.testing.assert_close(features.units.presence, expected.presence)
    part = features.frames(slice(1, 2)).graph_outputs()
    torch.testing.assert_close(part["au_intensity"], expected.intensity[1:2])
    plain = again.encode_crops(vision, None)
    assert plain.units is None and plain.graph_outputs() == {}


def test_a_whole_models_graph_gives_them_behind_the_face_tokens(
    model: EmoLlamaForConditionalGeneration, tmp_path: Path
) -> None:
    graph = onnx_from_component(model, "face")
    assert component_contracts(model, "face") == (graph.inputs, graph.outputs)
    assert [spec.name for spec in graph.outputs][-3:] == ["face_tokens", "au_presence", "au_intensity"]
    samples = packaged_samples(3)
    reference = reference_on(model, samples, ("happiness", "anger"))
    outputs, feed = reference.of("face")
    assert outputs.keys() == {spec.name for spec in graph.outputs}
    (path, *_) = save_graph(graph, tmp_path / "face.onnx")
    with OnnxSession(path, graph.inputs, graph.outputs) as session:
        computed = session.run(feed)
    for name in ("au_presence", "au_intensity", "face_tokens"):
        scale = float(np.abs(outputs[name]).max())
        np.testing.assert_allclose(computed[name], outputs[name], atol=1e-4 * scale, rtol=0)


def test_a_checkpoint_without_a_face_network_has_no_units(model: EmoLlamaForConditionalGeneration) -> None:
    config = model.config.model_copy(update={"face": None, "face_info": None, "action_units": None})
    with pytest.raises(InputError, match="no face network"):
        EmoLlamaForConditionalGeneration(config).face_and_units(np.zeros((1, 32, 32, 3), np.uint8))
