"""Training of AUFormer: seeded, goes on after a stop, leaves the tower alone, and writes a checkpoint of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.action_units.features import Drawings
from emo_edge.benchmarks.action_units.train_auformer import (
    PLAN,
    main,
    outcome,
    train_auformer,
    write_au_checkpoint,
)
from emo_edge.benchmarks.emo_tiny.loop import RunFiles
from emo_edge.export.configs.action_units import AuFormerConfig
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig
from emo_edge.export.models.action_units.auformer import AuFormer
from emo_edge.export.models.eva_vit import EvaVit
from emo_edge.export.reference.face_network import AuNetwork
from emo_edge.taxonomy import ACTION_UNITS
from tests.export.models.action_units.test_auformer import TOWER

CONFIG = AuFormerConfig(units=ACTION_UNITS, intensity=True, tower=TOWER, image_size=28, expert_size=2)
SHORT = replace(PLAN, steps=6, batch_size=8, warmup_steps=2)


def train(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def drawn() -> Drawings:
    """Noise whose first unit is there where the picture is bright."""
    draw = np.random.default_rng(0)
    bright = draw.random(48) < 0.5
    crops = draw.integers(0, 100, (48, 28, 28, 3)).astype(np.uint8) + (120 * bright[:, None, None, None]).astype("u1")
    levels = draw.uniform(0, 5, (48, len(ACTION_UNITS))).astype(np.float32)
    levels[:, 0] = 4 * bright
    return Drawings(crops, crops, torch.from_numpy(levels))


@pytest.fixture(scope="module")
def tower() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: value.clone() for name, value in EvaVit(TOWER).state_dict().items()}


def trained(drawn: Drawings, tower: dict[str, torch.Tensor], folder: Path, steps: int = 6, seed: int = 7) -> AuFormer:
    folder.mkdir(exist_ok=True)
    return train_auformer(CONFIG, tower, drawn, RunFiles(folder), seed, replace(SHORT, steps=steps))


def same(one: AuFormer, other: AuFormer) -> bool:
    second = other.state_dict()
    return all(torch.equal(value, second[name]) for name, value in one.state_dict().items())


def test_a_run_is_seeded_and_leaves_the_tower_as_it_is(
    drawn: Drawings, tower: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    first = trained(drawn, tower, tmp_path / "first")
    assert same(first, trained(drawn, tower, tmp_path / "again"))
    assert not same(first, trained(drawn, tower, tmp_path / "other", seed=8))
    assert all(torch.equal(value, tower[name]) for name, value in first.tower.state_dict().items())
    torch.manual_seed(7)
    untrained = AuFormer(CONFIG).state_dict()
    moved = {name for name, value in first.state_dict().items() if not torch.equal(value, untrained[name])}
    parts = {"experts.0.down", "experts.3.up", "experts.1.core.conv.weight", "presence.weight", "intensity.weight"}
    assert parts | {"expert_head"} <= moved


def test_a_finished_run_is_kept_and_its_log_says_so(
    drawn: Drawings, tower: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    first = trained(drawn, tower, tmp_path / "run")
    assert same(first, trained(drawn, tower, tmp_path / "run"))
    assert (tmp_path / "run" / "training_log.jsonl").read_text(encoding="utf-8").count("from_step") == 1


def test_a_stopped_run_goes_on_as_an_unbroken_one(
    drawn: Drawings, tower: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_edge.benchmarks.emo_tiny import loop

    unbroken, real = trained(drawn, tower, tmp_path / "unbroken"), AuFormer.with_experts
    monkeypatch.setattr(loop.train_stage, "__kwdefaults__", {"save_every": 2, "log_every": 2})
    calls: list[int] = []

    def stopping(network: AuFormer, pixels: torch.Tensor) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(network, pixels)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(AuFormer, "with_experts", stopping)
        trained(drawn, tower, tmp_path / "stopped")
    assert same(unbroken, trained(drawn, tower, tmp_path / "stopped"))
    assert '"from_step": 2' in (tmp_path / "stopped" / "training_log.jsonl").read_text(encoding="utf-8")


def test_it_learns_what_can_be_learned(drawn: Drawings, tower: dict[str, torch.Tensor], tmp_path: Path) -> None:
    found = outcome(trained(drawn, tower, tmp_path / "run", steps=60), drawn)
    assert found.truth.shape == found.probabilities.shape == found.intensities.shape == (48, len(ACTION_UNITS))
    assert ((found.probabilities[:, 0] >= 0.5) == found.truth[:, 0]).mean() > 0.95


def test_the_checkpoint_is_one_that_export_reads(
    drawn: Drawings, tower: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    network, thresholds = trained(drawn, tower, tmp_path / "run"), tuple([0.25] * len(ACTION_UNITS))
    source = EmoLlamaConfig(vision=TOWER, provenance={"name": "toy"}, detector="mtcnn")
    write_au_checkpoint(source, tmp_path / "written", network, thresholds, tmp_path / "run" / "training_log.jsonl")
    read = AuNetwork.from_pretrained(tmp_path / "written")
    assert same(network, read.network)
    assert read.config.network == CONFIG.model_copy(update={"thresholds": thresholds})
    assert (read.crop.size, read.crop.method, read.config.detector) == (28, TOWER.squaring, "mtcnn")
    assert "reconstruction" in read.config.provenance["action_units"] and "toy" in read.config.provenance["tower"]


def test_a_tower_of_other_crops_is_refused(toy_checkpoint: Path, tmp_path: Path) -> None:
    done = train("--checkpoint", toy_checkpoint, "--out", tmp_path / "run")
    assert done.exit_code == 4 and "its vision tower is not emo-tiny's" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_trains_on_drawings(tmp_path: Path) -> None:
    words = ["--checkpoint", packaged_checkpoint(), "--drawings", 100, "--test", 50, "--steps", 2, "--workers", 1]
    done = train(*words, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "mean F1 of 17 units" in done.stdout
    config = AuNetworkConfig.from_pretrained(tmp_path / "run" / "checkpoint")
    assert config.network.tower == EmoLlamaConfig.from_pretrained(packaged_checkpoint()).vision
