"""Train emo-tiny from nothing: ``python -m emo_edge.benchmarks.train_tiny --out runs/emo-tiny``.

The run is seeded and logged, and a rerun of the same command continues where the last one stopped.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch

from emo_edge.benchmarks import tiny_data
from emo_edge.benchmarks.machine import describe_machine
from emo_edge.benchmarks.tiny_config import TINY
from emo_edge.benchmarks.tiny_stages import (
    TrunkProbe,
    VisionProbe,
    batch_rows,
    examples_at,
    face_losses,
    language_losses,
    probe_losses,
)
from emo_edge.benchmarks.tiny_tokenizers import write_tokenizers
from emo_edge.benchmarks.training import Losses, RunFiles, StagePlan, log_entry, train_stage
from emo_edge.commands import EdgeCommand
from emo_edge.errors import DeviceError
from emo_edge.export.model import EmoLlamaForConditionalGeneration

FACE = StagePlan("face", steps=4000, batch_size=32, learning_rate=1.5e-3)
VISION = StagePlan("vision", steps=7000, batch_size=32, learning_rate=1e-3, warmup_steps=200)
LANGUAGE = StagePlan("language", steps=1200, batch_size=48, learning_rate=1e-3)
CLIPS = StagePlan("clips", steps=420, batch_size=48, learning_rate=4e-4, warmup_steps=30)
PARSE_EVERY = 4
"""One face step in four draws the parsing maps, whose 112 px cost more than the rest of the decoder."""


@dataclass(frozen=True)
class Run:
    """One training run: model, data and where things are kept."""

    model: EmoLlamaForConditionalGeneration
    images: tiny_data.Arrays
    clips: tiny_data.Arrays
    long_clips: tiny_data.Arrays
    files: RunFiles
    seed: int
    bf16: bool

    def mean_face(self) -> torch.Tensor:
        """Median landmarks [68, 2] of the first training images: where the landmark heads start."""
        return torch.tensor(np.median(self.images["landmarks"][:2000], axis=0), device=self.model.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Multiply in bfloat16 where asked; weights and losses stay in float32."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16)


def train_face(run: Run, plan: StagePlan = FACE) -> None:
    """Fit the face network to landmarks, pose, attributes, visibility, age, gender, race and parsing."""
    network, settings = run.model.face, run.model.config.face
    assert network is not None and settings is not None
    widths = [settings.embed_dim << stage for stage in (2, 3)]
    head = network.face_decoder.get_submodule("landmarks_prediction_head").get_submodule("layers.2")
    mean_face = run.mean_face()
    with torch.no_grad():
        head.get_parameter("bias").copy_(mean_face.flatten())
        head.get_parameter("weight").mul_(0.1)
    probe = TrunkProbe(widths, [settings.map_size // 4, -(-settings.map_size // 8)], mean_face)
    probed = torch.nn.ModuleDict({"network": network, "probe": probe}).to(run.model.device)

    def losses_at(step: int) -> Losses:
        rows = batch_rows(run.seed, step, len(run.images["face"]), plan.batch_size)
        with run.autocast():
            stages = network.backbone(run.model.face_pixels(run.images["face"][rows]))
            outputs = network.decode(stages, with_segmentation=step % PARSE_EVERY == 0)
            guessed = probe_losses(probe(stages[2:]), run.images, rows)
            return {**face_losses(outputs, run.images, rows), **guessed}

    train_stage(plan, probed, probed.parameters(), losses_at, run.files)


def train_vision(run: Run, plan: StagePlan = VISION) -> None:
    """Pre-train the vision tower under a probe; the probe stays in the run's directory."""
    probe = VisionProbe(run.model.config.vision.hidden_size, run.mean_face())
    probed = torch.nn.ModuleDict({"tower": run.model.vision, "probe": probe}).to(run.model.device)

    def losses_at(step: int) -> Losses:
        rows = batch_rows(run.seed + 1, step, len(run.images["vision"]), plan.batch_size)
        with run.autocast():
            features = run.model.vision_features(run.images["vision"][rows])
            return probe_losses(probe(features), run.images, rows)

    train_stage(plan, probed, probed.parameters(), losses_at, run.files)


def train_language(run: Run, plan: StagePlan = LANGUAGE) -> None:
    """Teach connector, Face Info Mining and LLaMA to answer; the two networks stay as they are."""
    _train_answers(run, plan, ClipShare(run.clips, tiny_data.TRAIN_CLIPS.frames, steps=1, of=5, batch_size=24))


def train_clips(run: Run, plan: StagePlan = CLIPS) -> None:
    """Continue on longer clips, so that a clip is read at least as well as one of its frames."""
    _train_answers(
        run, plan, ClipShare(run.long_clips, tiny_data.TRAIN_LONG_CLIPS.frames, steps=2, of=3, batch_size=16)
    )


@dataclass(frozen=True)
class ClipShare:
    """How many steps read clips instead of images, and which clips."""

    arrays: tiny_data.Arrays
    frames: int
    steps: int
    of: int
    batch_size: int


def _train_answers(run: Run, plan: StagePlan, share: ClipShare) -> None:
    parts = {"connector": run.model.connector, "face_info": run.model.face_info, "language": run.model.language}
    trained = torch.nn.ModuleDict({name: part for name, part in parts.items() if part is not None})

    def losses_at(step: int) -> Losses:
        clips = step % share.of >= share.of - share.steps
        arrays, frames = (share.arrays, share.frames) if clips else (run.images, 1)
        size = share.batch_size if clips else plan.batch_size
        items = batch_rows(run.seed + 2, step, len(arrays["expression"]) // frames, size)
        with run.autocast():
            examples = examples_at(arrays, items.tolist(), frames)
            return language_losses(run.model, arrays, examples, random.Random(f"{run.seed}-{step}"))

    train_stage(plan, trained, trained.parameters(), losses_at, run.files)


def prepare_data(directory: Path, splits: Sequence[tiny_data.Split], workers: int) -> Iterator[tiny_data.Arrays]:
    """Render what the cache lacks, with a progress bar a split."""
    for split in splits:
        with click.progressbar(length=split.count * split.frames, label=f"render {split.name}", file=sys.stderr) as bar:
            yield tiny_data.prepare(split, directory, workers=workers, progress=bar.update)


STAGES = (
    ("face", FACE, train_face),
    ("vision", VISION, train_vision),
    ("language", LANGUAGE, train_language),
    ("clips", CLIPS, train_clips),
)


@click.command(cls=EdgeCommand)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the run and its checkpoint go.")
@click.option("--seed", default=7, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--bf16/--fp32", default=False, show_default=True, help="Precision of the products while training.")
@click.option(
    "--stage",
    type=click.Choice(["face", "vision", "all"]),
    default="all",
    show_default=True,
    help="face and vision do not depend on each other and may run side by side; all continues from them.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of one process; PyTorch's own choice by default.")
@click.option("--scale", default=1.0, show_default=True, help="Multiply samples and steps; 0.01 tries the way out.")
@click.option("--workers", default=os.cpu_count() or 1, show_default=True, help="Processes that render.")
def main(
    out: Path, seed: int, device: str, bf16: bool, stage: str, scale: float, workers: int, threads: int | None
) -> None:
    """Render, train the four stages, write ``OUT/checkpoint``; rerun it to continue a stopped run."""
    device = _device(device)
    if threads:
        torch.set_num_threads(threads)
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    splits = (tiny_data.TRAIN_IMAGES, tiny_data.TRAIN_CLIPS, tiny_data.TRAIN_LONG_CLIPS)
    images, clips, long_clips = prepare_data(out / "data", [_scaled(split, scale) for split in splits], workers)
    log_entry(RunFiles(out), {"started": describe_machine(device), "seed": seed, "scale": scale, "bf16": bf16})
    run = Run(_fresh_model(out, seed, device), images, clips, long_clips, RunFiles(out), seed, bf16)
    for name, plan, train in STAGES:
        if stage in (name, "all"):
            train(run, replace(plan, steps=max(int(plan.steps * scale), 1)))
    if stage == "all":
        run.model.save_pretrained(out / "checkpoint", overwrite=True)
        minutes = round((time.perf_counter() - started) / 60, 1)
        log_entry(run.files, {"finished": True, "minutes": minutes})
        shutil.copy(run.files.log, out / "checkpoint")
        click.echo(f"{out / 'checkpoint'} written, {minutes} min after the start of this command")


def _device(name: str) -> str:
    """Choose CUDA under ``auto`` where there is one; a named device that is missing is an error."""
    there = torch.cuda.is_available()
    if name.startswith("cuda") and not there:
        raise DeviceError("no CUDA device is available here; use --device cpu")
    return ("cuda" if there else "cpu") if name == "auto" else name


def _scaled(split: tiny_data.Split, scale: float) -> tiny_data.Split:
    return replace(split, count=max(int(split.count * scale), 64))


def _fresh_model(out: Path, seed: int, device: str) -> EmoLlamaForConditionalGeneration:
    """Initialise every weight from the seed and train the tokenizers on the instruction corpus."""
    torch.manual_seed(seed)
    model = EmoLlamaForConditionalGeneration(TINY)
    write_tokenizers(out, seed)
    model.load_tokenizers(out)
    return model.to(device)


if __name__ == "__main__":
    main()
