"""FaceXFormer alone: import, export with its gates, and face facts without a language model."""

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
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import emo_edge
from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.cli.app import main
from emo_edge.errors import AccuracyGateError, CheckpointError, InputError
from emo_edge.export.bundles.face_network import bundle_from_face_network
from emo_edge.export.configs.checkpoint import FaceXFormerConfig
from emo_edge.export.importers.facexformer import checkpoint_from_facexformer
from emo_edge.export.reference.face_network import FaceNetwork
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.faces.registry import FixedBox
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.media.images import read_image
from emo_edge.metrics.gates import GRAPH_SIMILARITY

State = dict[str, torch.Tensor]
PACKAGE = Path(emo_edge.__file__).parent
SAMPLE = PACKAGE / "samples" / "004-fear.jpg"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def checkpoint(face: Callable[..., State], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("facexformer")
    torch.save({"state_dict_backbone": face()}, directory / "model.pt")
    done = run("import", "facexformer", directory / "model.pt", "--out", directory / "checkpoint")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{directory / 'checkpoint'}\n"
    assert "unused: 24 x computed from the window's size" in done.stderr
    return directory / "checkpoint"


@pytest.fixture(scope="module")
def short_checkpoint(
    short_face: Callable[[], AbstractContextManager[State]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("short-facexformer")
    with short_face() as state:
        torch.save({"state_dict_backbone": state}, directory / "model.pt")
        done = run("import", "facexformer", directory / "model.pt", "--out", directory / "checkpoint")
    assert done.exit_code == 0, done.output
    return directory / "checkpoint"


@pytest.fixture(scope="module")
def bundle(short_checkpoint: Path, tracing_once: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("face-bundle") / "bundle"
    with tracing_once():
        done = run("export", short_checkpoint, "--out", target, "--limit", 7)
    assert done.exit_code == 0, done.output
    return target


@pytest.fixture(scope="module")
def tiny_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """emo-tiny's face network with its action units as a checkpoint of its own, whose graph other tests have, too."""
    directory, source = tmp_path_factory.mktemp("tiny-face"), packaged_checkpoint()
    whole = json.loads((source / "config.json").read_text())
    own = {name: whole[name] for name in ("face", "action_units")}
    FaceXFormerConfig.from_dict(own).save_pretrained(directory)
    state = load_file(source / "model.safetensors")
    taken = {name: value for name, value in state.items() if name.startswith(("face.", "units."))}
    save_file(taken, directory / "model.safetensors")
    return directory


def test_the_checkpoint_holds_the_files_tensors_and_nothing_else(checkpoint: Path, face: Callable[..., State]) -> None:
    left = ("relative_position_index", "backbone.1.weight", "backbone.1.bias")
    wanted = {f"face.{name}": value for name, value in face().items() if not name.endswith(left)}
    found = load_file(checkpoint / "model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    config = FaceXFormerConfig.from_pretrained(checkpoint)
    assert (config.model_type, config.face.depths, config.provenance["face"]) == (
        "facexformer",
        (2, 2, 18, 2),
        "model.pt",
    )


@pytest.mark.usefixtures("traced_once")
def test_it_tells_the_facts_that_the_whole_model_tells(tiny_face: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle_from_face_network(tiny_face, tmp_path / "alone", ("fp32", "fp16"), packaged_samples(4))
    sample = packaged_samples(5)[4]
    facts = []
    for directory in (tmp_path / "alone", tiny_bundle):
        box = FixedBox(sample.box)
        with EmotionPipeline.open(directory, device="cpu", profile="exact", detector=box) as pipeline:
            facts.append(pipeline.read(sample.image, Request(face_facts=True, show_demographics=True))[0].face)
    alone, whole = facts
    assert alone is not None and whole is not None
    assert np.allclose(alone.landmarks, whole.landmarks, atol=0.05)
    assert alone.pose_degrees == pytest.approx(whole.pose_degrees, abs=0.05)
    assert alone.attributes == pytest.approx(whole.attributes, abs=1e-3)
    for name, shares in whole.demographics.items():
        assert alone.demographics[name] == pytest.approx(shares, abs=1e-3)


def test_every_precision_has_its_evidence_and_its_profile(bundle: Path) -> None:
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        manifest = pipeline.manifest
    assert manifest.components.face is not None and manifest.components.language is None
    assert {name: profile.face for name, profile in manifest.profiles.items()} == {"exact": "fp32", "balanced": "fp16"}
    assert manifest.default_profile == "balanced"
    for name, bound in (("fp32", 1e-4), ("fp16", 0.1)):
        evidence = manifest.components.face.variants[name].evidence
        assert set(evidence) == {"landmarks", "pose", "attributes", "visibility", "age", "gender", "race"}
        assert all(row["relative_error"] <= bound for row in evidence.values())


def test_infer_gives_facts_without_labels(bundle: Path, tmp_path: Path) -> None:
    options = ("--whole-image", "--face-facts", "--demographics")
    done = run("infer", bundle, SAMPLE, *options, "--json", "--draw", tmp_path / "drawn.png")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)[0]
    jsonschema.validate(result, json.loads((PACKAGE / "schemas" / "result-1.json").read_text(encoding="utf-8")))
    reading = result["readings"][0]
    assert (reading["label"], reading["probabilities"], reading["answers"]) == (None, {}, {})
    assert len(reading["face"]["landmarks"]) == 68 and set(reading["face"]["demographics"]) == {"age", "gender", "race"}
    assert set(reading["stage_ms"]) == {"detect", "crop", "face"}
    assert reading["settings"]["variants"] == {"face": "fp16"}
    drawn, plain = read_image(tmp_path / "drawn.png"), read_image(SAMPLE)
    assert drawn.shape[0] > plain.shape[0]
    shown = run("infer", bundle, SAMPLE, "--whole-image", "--face-facts")
    assert "attributes:" in shown.stdout and "race" not in shown.stdout
    assert shown.stdout.splitlines()[1].startswith("  face 1 of 1 at 0,0 ")


def test_a_picture_is_cropped_and_resized_as_upstream_does(
    short_checkpoint: Path,
    bundle: Path,
    wide_picture: Path,
    tmp_path: Path,
    facexformer_pixels: Callable[..., torch.Tensor],
) -> None:
    """From the file: PIL's crop of the grown box, its bicubic kernel, the network in PyTorch."""
    pil = pytest.importorskip("PIL.Image")
    x0, y0, x1, y1 = 40.7, 30.2, 101.9, 118.4
    grow_x, grow_y = (x1 - x0) * 0.25, (y1 - y0) * 0.25
    picture = pil.open(wide_picture)
    grown = (
        max(0, x0 - grow_x),
        max(0, y0 - grow_y),
        min(picture.width, x1 + grow_x),
        min(picture.height, y1 + grow_y),
    )
    picture.crop(tuple(map(int, grown))).save(tmp_path / "crop.png")
    network = FaceNetwork.from_pretrained(short_checkpoint)
    with torch.inference_mode():
        heads = network.face(facexformer_pixels(tmp_path / "crop.png", 224), with_segmentation=False)
    with EmotionPipeline.open(bundle, device="cpu", profile="exact") as pipeline:
        face = pipeline.read(wide_picture, Request(face_facts=True), boxes=[(x0, y0, x1, y1)])[0].face
    assert face is not None
    (pitch, yaw, roll) = (heads.pose[0] * 180 / np.pi).tolist()
    assert face.pose_degrees == pytest.approx({"pitch": pitch, "yaw": yaw, "roll": roll}, abs=0.02)
    assert face.hidden_points == pytest.approx(heads.visibility[0].sigmoid().tolist(), abs=1e-4)


def test_the_other_commands_know_such_a_bundle(bundle: Path) -> None:
    inspected, verified = run("inspect", bundle), run("verify", bundle)
    assert inspected.exit_code == verified.exit_code == 0
    assert "a face network alone: face facts, no labels; detector mtcnn" in inspected.stdout
    assert "balanced   -        fp16     -         is the face graph alone (default)" in inspected.stdout
    assert "intact, 5 files" in verified.stdout


@pytest.mark.parametrize(
    "asked",
    [["--describe"], ["--ask", "Why?"], ["--labels", "joy,fear"], ["--temperature", "2"], ["--prior-correction"]],
)
def test_what_needs_a_language_model_is_refused(asked: list[str], bundle: Path) -> None:
    done = run("infer", bundle, SAMPLE, "--whole-image", *asked)
    assert done.exit_code == 4
    assert "is a face network alone: it tells face facts, and answers neither labels nor questions" in done.stderr
    assert done.stdout == ""


def test_the_interface_refuses_it_too(bundle: Path) -> None:
    with EmotionPipeline.open(bundle, device="cpu", detector=FixedBox((0, 0, 90, 90))) as pipeline:
        with pytest.raises(InputError, match="face network alone"):
            pipeline.read(read_image(SAMPLE), Request(describe=True))
        clip = pipeline.read_clip([read_image(SAMPLE)] * 3)
    assert clip is not None and clip.frames == 3 and clip.label is None


def test_bad_files_are_one_error_each(checkpoint: Path, face: Callable[..., State], tmp_path: Path) -> None:
    state = face()
    del state["linear_c.2.proj.bias"], state["face_decoder.pose_token.weight"]
    torch.save({"state_dict_backbone": state}, tmp_path / "part.pt")
    with pytest.raises(CheckpointError) as caught:
        checkpoint_from_facexformer(tmp_path / "part.pt", tmp_path / "new")
    assert "2 problem(s)" in str(caught.value)
    assert "missing: face.face_decoder.pose_token.weight" in str(caught.value)
    (tmp_path / "short.pt").write_bytes((tmp_path / "part.pt").read_bytes()[:4000])
    for file, code, message in (
        ("short.pt", 5, "truncated or corrupt"),
        ("none.pt", 5, "no such file"),
    ):
        done = run("import", "facexformer", tmp_path / file, "--out", tmp_path / "new")
        assert (done.exit_code, message in done.stderr) == (code, True), done.output
    assert not (tmp_path / "new").exists()
    refused = run("export", checkpoint, "--out", tmp_path / "new", "--face", "fp32,int3")
    assert refused.exit_code == 4
    assert "--face int3: choose from fp32, fp16" in refused.stderr
    with pytest.raises(CheckpointError, match="model_type"):
        EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    with pytest.raises(CheckpointError, match="model_type"):
        FaceNetwork.from_pretrained(packaged_checkpoint())


@pytest.mark.usefixtures("traced_once")
def test_a_precision_that_misses_its_gate_is_left_out(
    tiny_face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GRAPH_SIMILARITY, "fp16", 1.1)
    with pytest.raises(AccuracyGateError, match=r"face fp16: landmarks: cosine .*, the gate is 1\.1"):
        bundle_from_face_network(tiny_face, tmp_path / "new", ("fp32", "fp16"), packaged_samples(2))
    with EmotionPipeline.open(tmp_path / "new", device="cpu") as pipeline:
        assert list(pipeline.manifest.profiles) == ["exact"]
    assert not (tmp_path / "new" / "face-fp16.onnx").exists()
    with pytest.raises(AccuracyGateError, match="nothing is written"):
        bundle_from_face_network(tiny_face, tmp_path / "none", ("fp16",), packaged_samples(2))
    assert not (tmp_path / "none").exists()
