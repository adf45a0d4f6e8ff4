"""Train action units on a checkpoint's frozen face trunk: ``python -m emo_edge.benchmarks.action_units.train``.

The run is seeded and logged, and a rerun of the same command continues where the last one stopped. Weights learn from
drawings of the seed `TRAIN_SEED`, thresholds are chosen on those of `THRESHOLD_SEED`, and every figure is of those of
`TEST_SEED`. The checkpoint that is written has every other tensor of the one that is read, bit by bit.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from emo_edge.benchmarks.action_units.features import TEST_SEED, TRAIN_SEED, Drawings, drawings, trunk_stages
from emo_edge.benchmarks.action_units.scores import f1_interval, mean_f1, unit_f1
from emo_edge.benchmarks.emo_tiny.config import TINY, UNITS
from emo_edge.benchmarks.emo_tiny.loop import Losses, RunFiles, StageConfig, log_entry, train_stage
from emo_edge.benchmarks.emo_tiny.stages import batch_rows
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.export.configs.action_units import BP4D_UNITS, DISFA_UNITS, SaclConfig
from emo_edge.export.models.action_units.losses import dice_loss, mdwa_loss, unit_weights
from emo_edge.export.models.action_units.sacl import Sacl
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.weights import WEIGHTS_NAME, save_tensors, weight_files
from emo_edge.inference.probability import sigmoid
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics.value_agreement import icc_3_1
from emo_edge.storage.directories import replaced_directory
from emo_edge.taxonomy import ACTION_UNITS
from emo_edge.utils.files import write_json

THRESHOLD_SEED, THRESHOLD_COUNT = 721, 1500
"""Drawings that thresholds are chosen on: neither learned from nor measured on."""
PLAN = StageConfig("units", steps=800, batch_size=100, learning_rate=2e-3, warmup_steps=50, weight_decay=0.01)
INTENSITY_WEIGHT = 0.1
"""Of the squared error of intensities, beside both losses of presence."""
CANDIDATES = np.round(np.arange(0.1, 0.901, 0.02), 2)
"""Thresholds that are tried."""
TIE = 0.005
"""Difference of F1 that some hundred active faces cannot tell from none."""
PREFIX = "units."
LOG = "training_log.jsonl"
BATCH = 100


@dataclass(frozen=True)
class UnitOutcome:
    """Probabilities and intensities of a network for some drawings, and the truth."""

    probabilities: NDArray[np.float64]
    """[N, U]."""
    intensities: NDArray[np.float64]
    """[N, U] from 0 to 5."""
    drawn: Drawings

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Units that are there, [N, U]."""
        return np.asarray(self.drawn.active.numpy(), bool)


def train_units(
    config: SaclConfig, stages: Sequence[Tensor], drawn: Drawings, files: RunFiles, seed: int, plan: StageConfig = PLAN
) -> Sacl:
    """Train a network of action units, or go on where a stopped run of the same folder ended.

    Args:
        config: of the network.
        stages: maps of the frozen trunk for the drawings, as `trunk_stages` gives them.
        drawn: the drawings and their units.
        files: of the run.
        seed: of the first weights and of the order of the drawings.
        plan: length and pace.
    """
    assert TINY.face is not None
    torch.manual_seed(seed)
    network = Sacl(config, TINY.face)
    active, intensities = drawn.active, drawn.intensities
    weights = unit_weights(active.mean(0).clamp(min=1e-3))

    def losses_at(step: int) -> Losses:
        rows = torch.from_numpy(batch_rows(seed, step, len(drawn), plan.batch_size))
        maps = [part[rows].float() for part in stages]
        outputs = network([maps[0], *maps])  # the first stage is not read
        return {
            "presence": mdwa_loss(outputs.presence, active[rows], weights),
            "overlap": dice_loss(outputs.presence, active[rows], weights),
            "intensity": INTENSITY_WEIGHT * (outputs.intensity - intensities[rows]).square().mean(),
        }

    train_stage(plan, network, network.parameters(), losses_at, files)
    return network.eval()


@torch.inference_mode()
def outcome(network: Sacl, stages: Sequence[Tensor], drawn: Drawings) -> UnitOutcome:
    """Run the network on drawings whose maps are known."""
    presence, intensity = [], []
    for start in range(0, len(drawn), BATCH):
        maps = [part[start : start + BATCH].float() for part in stages]
        outputs = network([maps[0], *maps])
        presence.append(outputs.presence.numpy())
        intensity.append(outputs.intensity.numpy())
    return UnitOutcome(sigmoid(np.concatenate(presence)), np.concatenate(intensity).astype(np.float64), drawn)


def drawn_splits(count: int, test: int, folder: Path, workers: int) -> tuple[Drawings, Drawings, Drawings]:
    """Draw what is learned from, what thresholds are chosen on, and what is measured on; or open what is drawn."""
    return (
        drawings("units-train", TRAIN_SEED, count, folder, workers=workers),
        drawings("units-thresholds", THRESHOLD_SEED, min(count, THRESHOLD_COUNT), folder, workers=workers),
        drawings("units-test", TEST_SEED, test, folder, workers=workers),
    )


def kept_figures(out: Path, files: RunFiles, stage: str, chosen: UnitOutcome, held: UnitOutcome) -> tuple[float, ...]:
    """Choose thresholds, measure with them, write ``out/units.json`` and print the figures; return the thresholds."""
    thresholds = chosen_thresholds(chosen)
    measured = {"thresholds": list(thresholds), **figures(held, thresholds)}
    log_entry(files, {"stage": stage, **measured})
    write_json(out / "units.json", {"machine": describe_machine(), **measured})
    click.echo(summary(measured))
    return thresholds


def announce(checkpoint: Path, thresholds: Sequence[float]) -> None:
    """Print on standard error where the checkpoint is."""
    listed = ", ".join(f"{value:g}" for value in thresholds)
    click.echo(f"{checkpoint} written; thresholds {listed}", file=sys.stderr)


def chosen_thresholds(result: UnitOutcome) -> tuple[float, ...]:
    """Return the threshold of each unit: the nearest to 0.5 whose F1 is within `TIE` of the highest."""
    scores = np.stack([unit_f1(result.truth, result.probabilities >= bound) for bound in CANDIDATES])
    distance = np.where(scores >= scores.max(0) - TIE, np.abs(CANDIDATES - 0.5)[:, None], np.inf)
    return tuple(float(CANDIDATES[place]) for place in distance.argmin(0))


def figures(result: UnitOutcome, thresholds: Sequence[float]) -> dict[str, Any]:
    """Measure a network: F1 with its interval, by unit and by the units of two data sets, and the intensities."""
    active = result.probabilities >= np.asarray(thresholds)
    truth, levels = result.truth, result.drawn.intensities.numpy().astype(np.float64)
    agreement = [icc_3_1(levels[:, unit], result.intensities[:, unit]) for unit in range(levels.shape[1])]
    by_unit = unit_f1(truth, active)
    return {
        "drawings": len(truth),
        "f1": mean_f1(truth, active),
        "f1_interval": list(f1_interval(truth, active)),
        "f1_at_half": mean_f1(truth, result.probabilities >= 0.5),
        "f1_disfa": mean_f1(truth, active, DISFA_UNITS),
        "f1_bp4d": mean_f1(truth, active, BP4D_UNITS),
        "f1_by_unit": {f"AU{unit}": float(value) for unit, value in zip(ACTION_UNITS, by_unit, strict=True)},
        "icc": float(np.mean(agreement)),
        "mae": float(np.abs(levels - result.intensities).mean()),
    }


def summary(measured: dict[str, Any]) -> str:
    """Return the figures on lines for people."""
    low, high = measured["f1_interval"]
    worst = min(measured["f1_by_unit"], key=measured["f1_by_unit"].__getitem__)
    return "\n".join(
        [
            f"{measured['drawings']} drawings, seed {TEST_SEED}: mean F1 of {len(ACTION_UNITS)} units "
            f"{measured['f1']:.3f} ({low:.3f}–{high:.3f}), {measured['f1_at_half']:.3f} with 0.5 for all",
            f"worst unit {worst} {measured['f1_by_unit'][worst]:.3f}; DISFA's 8 {measured['f1_disfa']:.3f}, "
            f"BP4D's 12 {measured['f1_bp4d']:.3f}",
            f"intensities: ICC(3,1) {measured['icc']:.3f}, mean error {measured['mae']:.2f} on 0 to 5",
        ]
    )


def write_with_units(source: Path, target: Path, network: Sacl, thresholds: Sequence[float], log: Path) -> None:
    """Write a checkpoint with these action units in place of its own; every other tensor stays as it is stored."""
    config = EmoLlamaForConditionalGeneration.from_pretrained(source).config
    units = network.config.model_copy(update={"thresholds": tuple(thresholds)})
    origin = {**config.provenance, "action_units": TINY.provenance["action_units"]}
    tensors = {
        name: tensor
        for path in weight_files(source)
        for name, tensor in load_file(path).items()
        if not name.startswith(PREFIX)
    }
    tensors |= {f"{PREFIX}{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    with replaced_directory(target) as partial:
        for path in source.iterdir():
            if path.is_file() and ".safetensors" not in path.name:
                shutil.copy(path, partial)
        config.model_copy(update={"action_units": units, "provenance": origin}).save_pretrained(partial)
        save_tensors(dict(sorted(tensors.items())), partial / WEIGHTS_NAME)
        with (partial / LOG).open("a", encoding="utf-8") as stream:
            stream.write(log.read_text(encoding="utf-8"))


def _checked(checkpoint: Path) -> EmoLlamaForConditionalGeneration:
    """Load a checkpoint; raise InputError where its face network does not read the crops of the drawings."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    if model.config.face != TINY.face:
        raise InputError(f"{checkpoint}: its face network is not emo-tiny's, for whose crops the drawings are cut")
    return model


@click.command(cls=EdgeCommand)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Checkpoint whose face trunk is read.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the run and its checkpoint go.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the drawings; OUT/data if left out.")
@click.option("--seed", default=7, show_default=True)
@click.option("--drawings", "count", default=5000, show_default=True, type=click.IntRange(100), help="To learn from.")
@click.option("--test", default=1500, show_default=True, type=click.IntRange(50), help="Drawings of every figure.")
@click.option("--steps", default=PLAN.steps, show_default=True, type=click.IntRange(1), help="Batches of 100.")
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
def main(
    checkpoint: Path, out: Path, cache: Path | None, seed: int, count: int, test: int, steps: int, workers: int
) -> None:
    """Render, train, choose thresholds and measure; write ``OUT/checkpoint`` and ``OUT/units.json``.

    Rerun it to continue a stopped run.
    """
    model = _checked(checkpoint).requires_grad_(False)
    out.mkdir(parents=True, exist_ok=True)
    files, folder = RunFiles(out), cache or out / "data"
    log_entry(files, {"started": describe_machine(), "seed": seed, "drawings": count})
    learned, chosen, held = drawn_splits(count, test, folder, workers)
    plan = replace(PLAN, steps=steps)
    network = train_units(
        UNITS.model_copy(update={"thresholds": ()}), trunk_stages(model, learned), learned, files, seed, plan
    )
    outcomes = (outcome(network, trunk_stages(model, drawn), drawn) for drawn in (chosen, held))
    thresholds = kept_figures(out, files, plan.name, *outcomes)
    write_with_units(checkpoint, out / "checkpoint", network, thresholds, files.log)
    announce(out / "checkpoint", thresholds)


if __name__ == "__main__":
    main()
