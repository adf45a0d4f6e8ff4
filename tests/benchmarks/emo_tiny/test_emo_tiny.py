"""The packaged checkpoint: it is what its model card says, and it reads drawings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.action_units.features import TEST_SEED
from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.benchmarks.emo_tiny.data import BASIC, TEST_CLIPS, TEST_IMAGES, Split, prepare
from emo_edge.benchmarks.emo_tiny.evaluate import LABELS, TEST_UNITS, evaluate, table, unit_figures
from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.bundle.prompts import classify_question
from emo_edge.cli.demo import main as demo
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.metrics import classification
from emo_edge.metrics.facial_cues import cues_in

MEGABYTE = 1_000_000
WITHOUT_UNITS = "6210f96aaf7bee4f4d6fcef1bf14e45fa232773239dd538e157b880d7139b637"
"""SHA-256 of every tensor but those of the action units, which were trained on these and left them as they were."""
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def directory() -> Path:
    return packaged_checkpoint("emo-tiny")


@pytest.fixture(scope="module")
def report(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "evaluation.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def model(directory: Path) -> EmoLlamaForConditionalGeneration:
    return EmoLlamaForConditionalGeneration.from_pretrained(directory)


def test_the_whole_checkpoint_is_small(directory: Path) -> None:
    weights = (directory / "model.safetensors").stat().st_size
    assert weights <= 30 * MEGABYTE


def test_the_config_is_the_one_in_the_code(model: EmoLlamaForConditionalGeneration) -> None:
    assert model.config == TINY


def test_the_action_units_left_every_other_tensor_as_it_was(directory: Path) -> None:
    found, tensors = hashlib.sha256(), load_file(directory / "model.safetensors")
    for name in sorted(tensors):
        if not name.startswith("units."):
            found.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
            found.update(tensors[name].numpy().tobytes())
    assert found.hexdigest() == WITHOUT_UNITS


def test_every_language_row_takes_k_quants(model: EmoLlamaForConditionalGeneration) -> None:
    for name, weight in model.language.state_dict().items():
        if weight.ndim == 2:
            assert weight.shape[1] % 256 == 0, name


def test_the_figures_belong_to_the_weights(directory: Path, report: dict[str, Any]) -> None:
    digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    assert report["weights_sha256"] == digest
    for document in (directory / "README.md", ROOT / "docs" / "results" / "emo-tiny.md"):
        assert table(report) in document.read_text(encoding="utf-8"), document


def test_the_kept_figures_hold_the_gates(report: dict[str, Any]) -> None:
    rows, face = report["expression"], report["face"]
    full, clips = rows["images, full"], rows[f"clips, {TEST_CLIPS.frames} frames"]
    assert full["samples"] == TEST_IMAGES.count
    assert clips["samples"] == TEST_CLIPS.count
    for key in ("war", "uar"):
        assert 0.85 <= full[key] <= 0.97
        assert clips[key] >= rows["the same clips, middle frame"][key]
        assert clips[key] >= full[key]
        assert full[key] - rows["images, without face tokens"][key] >= 0.03
        assert full[key] - rows["images, without vision tokens"][key] >= 0.03
    assert face["landmark NME"] <= 0.06
    assert face["gender accuracy"] >= 0.9
    assert face["age accuracy"] >= 0.8
    assert face["race accuracy"] >= 0.8
    assert report["cue micro-F1"] >= 0.75
    units = report["action units"]
    assert units["mean F1 of 17"] >= 0.84
    assert min(value for name, value in units.items() if name.startswith("lowest F1")) >= 0.5


def test_it_reads_drawings_it_has_not_seen(model: EmoLlamaForConditionalGeneration) -> None:
    samples = [render_face(5001, index, expressions=BASIC) for index in range(80)]
    question = classify_question(model.config.prompt, LABELS)
    scores = [model.label_scores(one.image, question, LABELS, boxes=tuple(one.box.tolist())) for one in samples]
    right = [LABELS[row.argmax()] == sample.expression for row, sample in zip(scores, samples, strict=True)]
    assert np.mean(right) >= 0.8


def test_its_action_units_are_measured_on_drawings_of_no_training(
    model: EmoLlamaForConditionalGeneration, tmp_path: Path
) -> None:
    assert (TEST_UNITS.seed, TEST_UNITS.name) == (TEST_SEED, "units-test")
    arrays = prepare(replace(TEST_UNITS, count=3), tmp_path, workers=1, progress=lambda _: None)
    assert set(unit_figures(model, arrays)) >= {"mean F1 of 17", "mean ICC(3,1) of intensities"}


def test_its_answers_name_cues(model: EmoLlamaForConditionalGeneration) -> None:
    sample = next(found for found in (render_face(5002, i) for i in range(99)) if found.expression == "surprise")
    said = model.generate(sample.image, "Which facial cues are visible?", boxes=tuple(sample.box.tolist()))
    assert said.startswith("The person looks ")
    assert cues_in(said)


def test_evaluation_runs_from_rendering_to_table(model: EmoLlamaForConditionalGeneration, tmp_path: Path) -> None:
    images = prepare(Split("images", 5003, 24, expressions=BASIC), tmp_path, workers=1, progress=lambda _: None)
    clips = prepare(Split("clips", 5004, 4, 3, BASIC), tmp_path, workers=1, progress=lambda _: None)
    report = {**evaluate(model, images, clips, frames=3), "machine": "here"}
    assert report["expression"]["images, full"]["samples"] == len(report["samples"]) == 24
    assert report["expression"]["images, full"]["war"] == pytest.approx(
        classification.war(
            np.array([LABELS.index(sample["label"]) for sample in report["samples"]]),
            np.array([LABELS.index(sample["answers"]["full"]) for sample in report["samples"]]),
        )
    )
    assert "| clips, 3 frames | 4 |" in table(report)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_demo_exports_once_and_prints_readings_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ["--show", "2", "--samples", "7", "--compared", "14"]
    cold, warm = (CliRunner().invoke(demo, arguments) for _ in range(2))
    assert "profile small: label agreement" in cold.stderr
    assert warm.stderr == ""
    for done in (cold, warm):
        assert done.exit_code == 0, done.output
        assert done.stdout.count("drawn: ") == 2
        for row in ("| exact (f16, fp32) |", "| balanced (fp16, q8_0) |", "| small (fp16, q4_k_m) |"):
            assert row in done.stdout
        assert "against PyTorch float32 on 14 drawings, seed 903" in done.stdout
