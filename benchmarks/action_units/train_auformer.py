"""Train AUFormer on a checkpoint's frozen vision tower: ``python -m emo_edge.benchmarks.action_units.train_auformer``.

The run is seeded and logged, and a rerun of the same command continues where the last one stopped. Drawings, thresholds
and figures are those of `emo_edge.benchmarks.action_units.train`. What is written is a checkpoint of its own
(``model_type: au_network``), which ``emo-edge export`` reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from emo_edge.benchmarks.action_units.features import Drawings
from emo_edge.benchmarks.action_units.train import (
    INTENSITY_WEIGHT,
    LOG,
    UnitOutcome,
    announce,
    drawn_splits,
    kept_figures,
)
from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.benchmarks.emo_tiny.loop import Losses, RunFiles, StageConfig, log_entry, train_stage
from emo_edge.benchmarks.emo_tiny.stages import batch_rows
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.export.configs.action_units import AuFormerConfig
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig
from emo_edge.export.models.action_units.auformer import AuFormer, FoldedAuFormer
from emo_edge.export.models.action_units.losses import dice_loss, mdwa_loss, unit_weights
from emo_edge.export.reference.crop_settings import vision_crop_settings
from emo_edge.export.reference.face_network import AuNetwork
from emo_edge.export.reference.frames import normalised_pixels
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.inference.probability import sigmoid
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.storage.directories import replaced_directory
from emo_edge.taxonomy import ACTION_UNITS

PLAN = StageConfig("auformer", steps=1000, batch_size=50, learning_rate=2e-3, warmup_steps=50, weight_decay=0.01)
EXPERT_SIZE = 4
NAME = "au-tiny"
BATCH = 50


def train_auformer(
    config: AuFormerConfig,
    tower: Mapping[str, Tensor],
    drawn: Drawings,
    files: RunFiles,
    seed: int,
    plan: StageConfig = PLAN,
) -> AuFormer:
    """Train the experts and the heads, or go on where a stopped run of the same folder ended.

    Args:
        config: of the network.
        tower: weights of the frozen tower, by its own names.
        drawn: the drawings and their units; the crops of the vision tower are read.
        files: of the run.
        seed: of the first weights and of the order of the drawings.
        plan: length and pace.
    """
    torch.manual_seed(seed)
    network = AuFormer(config)
    network.tower.load_state_dict(tower)
    active, intensities = drawn.active, drawn.intensities
    weights = unit_weights(active.mean(0).clamp(min=1e-3))

    def losses_at(step: int) -> Losses:
        rows = batch_rows(seed, step, len(drawn), plan.batch_size)
        outputs, experts = network.with_experts(_pixels(config, drawn, rows))
        truth = active[torch.from_numpy(rows)]
        losses = {
            "presence": mdwa_loss(outputs.presence, truth, weights),
            "overlap": dice_loss(outputs.presence, truth, weights),
            "experts": mdwa_loss(experts, truth, weights),
        }
        if outputs.intensity is not None:
            error = (outputs.intensity - intensities[torch.from_numpy(rows)]).square().mean()
            losses["intensity"] = INTENSITY_WEIGHT * error
        return losses

    learning = [part for part in network.parameters() if part.requires_grad]
    train_stage(plan, network, learning, losses_at, files)
    return network.eval()


@torch.inference_mode()
def outcome(network: AuFormer, drawn: Drawings) -> UnitOutcome:
    """Run a network that gives intensities on drawings."""
    folded, presence, intensity = FoldedAuFormer(network).eval(), [], []
    for start in range(0, len(drawn), BATCH):
        outputs = folded(_pixels(network.config, drawn, np.arange(start, min(start + BATCH, len(drawn)))))
        presence.append(outputs.presence.numpy())
        intensity.append(outputs.intensity.numpy())
    return UnitOutcome(sigmoid(np.concatenate(presence)), np.concatenate(intensity).astype(np.float64), drawn)


def _pixels(config: AuFormerConfig, drawn: Drawings, rows: np.ndarray) -> Tensor:
    crops = torch.from_numpy(np.asarray(drawn.vision[rows]))
    return normalised_pixels(crops, config.tower.image_mean, config.tower.image_std)


def write_au_checkpoint(
    source: EmoLlamaConfig, target: Path, network: AuFormer, thresholds: Sequence[float], log: Path
) -> None:
    """Write a checkpoint of the network alone, with the crop of the tower that it stands on."""
    config = AuNetworkConfig(
        network=network.config.model_copy(update={"thresholds": tuple(thresholds)}),
        crop=vision_crop_settings(source.vision),
        detector=source.detector,
        provenance={
            **{name: text for name, text in source.provenance.items() if name != "face_info"},
            "name": NAME,
            "tower": f"the frozen vision tower of {source.provenance.get('name', 'an unnamed checkpoint')}",
            "action_units": "reconstruction: no code or weights of AUFormer were ever published",
        },
    )
    whole = AuNetwork(config)
    whole.network.load_state_dict(network.state_dict())
    with replaced_directory(target) as partial:
        whole.save_pretrained(partial)
        shutil.copy(log, partial / LOG)


def _checked(checkpoint: Path) -> EmoLlamaForConditionalGeneration:
    """Load a checkpoint; raise InputError where its vision tower does not read the crops of the drawings."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    if model.config.vision != TINY.vision:
        raise InputError(f"{checkpoint}: its vision tower is not emo-tiny's, for whose crops the drawings are cut")
    return model


@click.command(cls=EdgeCommand)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Checkpoint whose vision tower is read.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the run and its checkpoint go.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the drawings; OUT/data if left out.")
@click.option("--seed", default=7, show_default=True)
@click.option("--drawings", "count", default=5000, show_default=True, type=click.IntRange(100), help="To learn from.")
@click.option("--test", default=1500, show_default=True, type=click.IntRange(50), help="Drawings of every figure.")
@click.option("--steps", default=PLAN.steps, show_default=True, type=click.IntRange(1), help="Batches of 50.")
@click.option("--expert-size", default=EXPERT_SIZE, show_default=True, type=click.IntRange(1, 64), help="Channels.")
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
def main(
    checkpoint: Path,
    out: Path,
    cache: Path | None,
    seed: int,
    count: int,
    test: int,
    steps: int,
    expert_size: int,
    workers: int,
) -> None:
    """Render, train, choose thresholds and measure; write ``OUT/checkpoint`` and ``OUT/units.json``.

    Rerun it to continue a stopped run.
    """
    model = _checked(checkpoint).requires_grad_(False)
    tower = model.config.vision
    config = AuFormerConfig(
        units=ACTION_UNITS, intensity=True, tower=tower, image_size=tower.image_size, expert_size=expert_size
    )
    out.mkdir(parents=True, exist_ok=True)
    files, folder = RunFiles(out), cache or out / "data"
    log_entry(files, {"started": describe_machine(), "seed": seed, "drawings": count})
    learned, chosen, held = drawn_splits(count, test, folder, workers)
    plan = replace(PLAN, steps=steps)
    network = train_auformer(config, model.vision.state_dict(), learned, files, seed, plan)
    thresholds = kept_figures(out, files, plan.name, outcome(network, chosen), outcome(network, held))
    write_au_checkpoint(model.config, out / "checkpoint", network, thresholds, files.log)
    announce(out / "checkpoint", thresholds)


if __name__ == "__main__":
    main()
