"""A random checkpoint is of the true structure, says that it is random, and walks the whole way."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.cli.app import main
from emo_edge.export.bundles import emo_llama
from emo_edge.export.configs.random_shapes import SHAPES
from emo_edge.export.importers import checkpoint_writer
from emo_edge.export.importers import random_weights as module
from emo_edge.export.importers.random_weights import PURPOSE, random_checkpoint, random_config
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, parameter_shapes
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.media.images import read_image
from emo_edge.rendering.annotate import annotated

SAMPLES = Path(__file__).parents[3] / "emo_edge" / "samples"


@pytest.fixture(autouse=True)
def _toy_shape(toy_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = toy_config.model_dump(include={"vision", "connector", "face", "language", "prompt"})
    parts["language"]["intermediate_size"] = 64  # q8_0 takes rows of 32
    monkeypatch.setattr(module, "SHAPES", {**SHAPES, "toy": parts})


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_shapes_have_the_published_sizes() -> None:
    counts = {
        shape: sum(torch.Size(size).numel() for size in parameter_shapes(random_config(shape)).values())
        for shape in ("llama-vid-7b", "llama-vid-13b", "emola-7b")
    }
    projectors = sum(inputs * 4096 + 4096 + 4096 * 4096 + 4096 for inputs in (1024, 212))
    assert counts.pop("emola-7b") == 6_738_415_616 + 290_909_184 + projectors, "LLaMA, 23 of CLIP's layers"
    language = {"llama-vid-7b": 6_738_415_616, "llama-vid-13b": 13_015_864_320}
    networks = {shape: counts[shape] - language[shape] for shape in counts}
    assert 1.2e9 < networks["llama-vid-7b"] < 1.35e9, "EVA ViT-g, Q-Former and FaceXFormer"
    wider = networks["llama-vid-13b"] - networks["llama-vid-7b"]
    assert 0 < wider < 30e6, "projectors to 5120 instead of 4096 columns"


def test_its_weights_are_the_structures_and_follow_the_seed(tmp_path: Path) -> None:
    states = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        random_checkpoint("toy", tmp_path / name, seed=seed)
        states.append(load_file(tmp_path / name / "model.safetensors"))
    first, same, other = states
    assert {name: tuple(value.shape) for name, value in first.items()} == parameter_shapes(random_config("toy"))
    assert all(torch.equal(first[name], same[name]) for name in first)
    matrices = [name for name, value in first.items() if value.ndim > 1]
    assert not any(torch.equal(first[name], other[name]) for name in matrices)
    assert len({float(first[name].flatten()[0]) for name in matrices}) > 0.9 * len(matrices), "no two drawn alike"
    norm = first["language.model.norm.weight"]
    assert norm.dtype == torch.float16 and torch.equal(norm, torch.ones_like(norm))
    assert not any(value.any() for name, value in first.items() if name.endswith("bias"))


def test_emolas_shape_has_a_landmark_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vision = {**SHAPES["emola-7b"]["vision"], "image_size": 28, "hidden_size": 32, "num_layers": 1, "num_heads": 2}
    parts = {**SHAPES["emola-7b"], "vision": vision, "language": TINY.language.model_dump()}
    monkeypatch.setattr(module, "SHAPES", {"toy": parts})
    random_checkpoint("toy", tmp_path / "a")
    random_checkpoint("toy", tmp_path / "b", seed=1)
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "a")
    assert np.isfinite(model.label_scores(read_image(SAMPLES / "004-fear.jpg"), "Which?", ["joy", "fear"])).all()
    assert (tmp_path / "a" / "landmarks.onnx").read_bytes() != (tmp_path / "b" / "landmarks.onnx").read_bytes()


@pytest.mark.usefixtures("traced_once")
def test_it_goes_on_to_a_bundle_that_says_random_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, bundle, written = tmp_path / "checkpoint", tmp_path / "bundle", list[str]()
    real = emo_llama.gguf_from_checkpoint

    def noted(directory: Path, config: Any, out: Path, **options: Any) -> Path:
        written.append(out.name)
        return real(directory, config, out, **options)

    monkeypatch.setattr(emo_llama, "gguf_from_checkpoint", noted)
    random_checkpoint("toy", checkpoint)
    exports = "--vision fp32 --face fp16 --language q8_0,f16 --limit 7"
    exported = run("export", checkpoint, "--out", bundle, *exports.split())
    assert exported.exit_code == 0, exported.output
    assert written == ["language-f16.gguf"], "it is what q8_0 is made of: nothing is written twice"
    inspected = run("inspect", bundle)
    assert "toy-random, bundle version" in inspected.stdout
    assert PURPOSE in inspected.stdout
    arguments = ("infer", bundle, SAMPLES / "004-fear.jpg", "--whole-image")
    assert f"toy-random: {PURPOSE}" in run(*arguments).stderr
    with EmotionPipeline.open(bundle, device="cpu", detector=WholeImage()) as pipeline:
        image = read_image(SAMPLES / "004-fear.jpg")
        reading = pipeline.read(image)[0]
    silent = replace(reading, settings=replace(reading.settings, purpose=""))
    drawn, plain = annotated(image, [reading]), annotated(image, [silent])
    assert len(drawn) > len(plain) and (drawn[: len(plain)] == plain).all(), "a drawing tells it below the face"
    assert drawn[len(plain) :].std() > 10
    settings = json.loads(run(*arguments, "--json").stdout)[0]["readings"][0]["settings"]
    assert (settings["bundle"], settings["purpose"]) == ("toy-random", PURPOSE)


def test_an_unknown_shape_and_a_target_that_holds_something_are_refused(tmp_path: Path) -> None:
    unknown = run("import", "random", "--shape", "llama-vid-70b", "--out", tmp_path / "new")
    assert unknown.exit_code == 2
    assert "llama-vid-7b" in unknown.stderr
    (tmp_path / "mine.txt").write_text("kept")
    taken = run("import", "random", "--shape", "llama-vid-tiny", "--out", tmp_path)
    assert taken.exit_code == 5
    assert "already there; give another name" in taken.stderr
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_no_room_is_told_before_the_first_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(checkpoint_writer.shutil, "disk_usage", lambda path: usage)
    refused = run("import", "random", "--shape", "llama-vid-7b", "--out", tmp_path / "new")
    assert refused.exit_code == 4
    assert "16.1 GB are needed and 0.0 GB free" in refused.stderr
    assert not (tmp_path / "new").exists()
