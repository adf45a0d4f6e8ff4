"""Training of action units on a checkpoint: thresholds, the checkpoint that is written, a rerun, other checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.action_units.features import Drawings
from emo_edge.benchmarks.action_units.train import CANDIDATES, TIE, UnitOutcome, chosen_thresholds, figures, main
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.taxonomy import ACTION_UNITS

COUNT = len(ACTION_UNITS)


def train(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def outcome(probabilities: np.ndarray, levels: np.ndarray) -> UnitOutcome:
    crops = np.zeros((len(levels), 1, 1, 3), np.uint8)
    drawn = Drawings(crops, crops, torch.from_numpy(levels.astype(np.float32)))
    return UnitOutcome(probabilities, levels, drawn)


@pytest.fixture
def drawn() -> UnitOutcome:
    """Units that are there above a probability of 0.7, and one that any threshold finds."""
    probabilities = np.random.default_rng(0).random((400, COUNT))
    levels = np.where(probabilities > 0.7, 3.0, 0.0)
    levels[:, 0] = np.where(np.arange(400) % 2 == 0, 2.0, 0.0)
    probabilities[:, 0] = np.where(levels[:, 0] > 0, 0.95, 0.05)
    return outcome(probabilities, levels)


def test_a_threshold_has_the_highest_f1_and_leaves_the_middle_only_for_a_gain(drawn: UnitOutcome) -> None:
    thresholds = chosen_thresholds(drawn)
    assert thresholds[0] == 0.5, "all are equal"
    assert all(0.68 <= bound <= 0.72 for bound in thresholds[1:])
    assert set(thresholds) <= set(CANDIDATES.tolist())
    measured = figures(drawn, thresholds)
    assert measured["f1"] >= 1 - 5 * TIE > measured["f1_at_half"]
    assert measured["f1_interval"][0] <= measured["f1"] <= measured["f1_interval"][1]
    assert (measured["icc"], measured["mae"]) == (pytest.approx(1), 0)


def test_a_small_gain_of_chance_moves_no_threshold(drawn: UnitOutcome) -> None:
    levels, probabilities = drawn.intensities.copy(), drawn.probabilities.copy()
    probabilities[:, 1] = np.where(levels[:, 1] > 0, 0.9, 0.1)
    probabilities[0, 1] = 0.55  # one false alarm of 400 at 0.5, none from 0.56 on
    levels[0, 1] = 0.0
    assert chosen_thresholds(outcome(probabilities, levels))[1] == 0.5


@pytest.mark.slow
def test_a_short_run_writes_a_checkpoint_that_keeps_every_other_tensor(tmp_path: Path) -> None:
    source = packaged_checkpoint()
    words = ["--checkpoint", source, "--drawings", 100, "--test", 50, "--steps", 3, "--workers", 1]
    words = [*words, "--cache", tmp_path / "drawings"]
    done = train(*words, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "mean F1 of 17 units" in done.stdout
    report = json.loads((tmp_path / "run" / "units.json").read_text(encoding="utf-8"))
    before, written = load_file(source / "model.safetensors"), tmp_path / "run" / "checkpoint"
    after = load_file(written / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        if name.startswith("units."):
            continue
        assert after[name].dtype == tensor.dtype and torch.equal(after[name], tensor), name
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("units."))
    config, old = EmoLlamaConfig.from_pretrained(written), EmoLlamaConfig.from_pretrained(source)
    assert config.action_units is not None and list(config.action_units.thresholds) == report["thresholds"]
    assert config.model_copy(update={"action_units": old.action_units}) == old
    EmoLlamaForConditionalGeneration.from_pretrained(written)
    log = (tmp_path / "run" / "training_log.jsonl").read_text(encoding="utf-8")
    assert (written / "training_log.jsonl").read_text(encoding="utf-8").endswith(log)

    again = train(*words, "--out", tmp_path / "run")
    assert again.exit_code == 0, again.output
    assert load_file(written / "model.safetensors").keys() == after.keys()
    assert (tmp_path / "run" / "training_log.jsonl").read_text(encoding="utf-8").count("from_step") == 1

    other = train(*words, "--out", tmp_path / "other")
    assert other.exit_code == 0, other.output
    same = load_file(tmp_path / "other" / "checkpoint" / "model.safetensors")
    assert all(torch.equal(same[name], after[name]) for name in after), "seeded"


def test_a_face_network_of_other_crops_is_refused(toy_checkpoint: Path, tmp_path: Path) -> None:
    done = train("--checkpoint", toy_checkpoint, "--out", tmp_path / "run")
    assert done.exit_code == 4 and "its face network is not emo-tiny's" in done.stderr
    assert not (tmp_path / "run").exists()
