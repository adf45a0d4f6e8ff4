"""Train a toy model of LLaVA's kind: ``python -m emo_edge.benchmarks.visual_tokens.train --out runs/llava-tiny``.

It has emo-tiny's image tower, frozen, whose every patch is a token, a projector of two layers from nothing, and starts
with emo-tiny's language model; no face network, no Q-Former. It learns from the drawings and questions that emo-tiny
learnt from. The run is seeded and logged, and a rerun of the same command continues where the last one stopped.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.benchmarks.emo_tiny.data import TRAIN_IMAGES, Arrays, prepare
from emo_edge.benchmarks.emo_tiny.frozen_features import FrozenFeatures
from emo_edge.benchmarks.emo_tiny.loop import Losses, RunFiles, StageConfig, log_entry, train_stage
from emo_edge.benchmarks.emo_tiny.stages import batch_rows, examples_at, language_losses
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.networks import ConnectorConfig
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine

STAGE = StageConfig("llava", steps=900, batch_size=32, learning_rate=1e-3)
IMAGES = 16_000


def llava_config() -> EmoLlamaConfig:
    """Return emo-tiny's config with every patch a token and no face network."""
    parts: dict[str, Any] = {
        "connector": ConnectorConfig(compress_type="none", qformer=None),
        "face": None,
        "face_info": None,
        "action_units": None,
        "live": None,
        "tasks": None,
        "prompt": TINY.prompt.model_copy(update={"use_demographics": False}),
        "provenance": {
            "name": "llava-tiny",
            "trained_on": "synthetic drawings of faces (emo_edge.benchmarks.synthetic)",
            "purpose": "judge of budgets of visual tokens; it has never seen a photograph of a person",
        },
    }
    return EmoLlamaConfig.from_dict({**TINY.model_dump(mode="json"), **_plain(parts)})


def _plain(parts: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value for name, value in parts.items()
    }


def untrained_model() -> EmoLlamaForConditionalGeneration:
    """Return the model with emo-tiny's tower, language model and tokenizer."""
    source = packaged_checkpoint("emo-tiny")
    trained = EmoLlamaForConditionalGeneration.from_pretrained(source)
    model = EmoLlamaForConditionalGeneration(llava_config())
    model.vision.load_state_dict(trained.vision.state_dict())
    model.language.load_state_dict(trained.language.state_dict())
    model.load_tokenizers(source)
    return model


def train(model: EmoLlamaForConditionalGeneration, images: Arrays, files: RunFiles, plan: StageConfig) -> None:
    """Teach projector and language model to answer about the images; the tower stays as it is."""
    model.vision.requires_grad_(False)
    trained = torch.nn.ModuleDict({"connector": model.connector, "language": model.language})
    # What the frozen tower gives is computed once.
    features = FrozenFeatures(model, images)

    def losses_at(step: int) -> Losses:
        items = batch_rows(plan.steps, step, len(images["expression"]), plan.batch_size).tolist()
        return language_losses(model, features.read, examples_at(images, items, 1), random.Random(f"llava-{step}"))

    train_stage(plan, trained, trained.parameters(), losses_at, files)


@click.command(cls=EdgeCommand)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the run and its checkpoint go.")
@click.option(
    "--seed", default=7, show_default=True, help="Of the projector's first weights; the order of drawings is fixed."
)
@click.option("--scale", default=1.0, show_default=True, help="Multiply samples and steps; 0.01 tries the way out.")
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
def main(out: Path, seed: int, scale: float, workers: int) -> None:
    """Render, train, write ``OUT/checkpoint``; rerun it to continue a stopped run."""
    started, files = time.perf_counter(), RunFiles(out)
    plan = replace(STAGE, steps=max(int(STAGE.steps * scale), 1))
    split = replace(TRAIN_IMAGES, count=max(int(IMAGES * scale), plan.batch_size))
    out.mkdir(parents=True, exist_ok=True)
    log_entry(files, {"started": describe_machine("cpu"), "seed": seed, "scale": scale})
    with click.progressbar(length=split.count, label="render", file=sys.stderr) as bar:
        images = prepare(split, out / "data", workers=workers, progress=bar.update)
    torch.manual_seed(seed)
    model = untrained_model()
    train(model, images, files, plan)
    model.eval().save_pretrained(out / "checkpoint", overwrite=True)
    minutes = round((time.perf_counter() - started) / 60, 1)
    log_entry(files, {"finished": True, "minutes": minutes})
    shutil.copy(files.log, out / "checkpoint")
    click.echo(f"{out / 'checkpoint'} written, {minutes} min after the start of this command")


if __name__ == "__main__":
    main()
