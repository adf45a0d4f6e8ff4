"""Train emo-tiny from nothing: ``python -m emo_edge.benchmarks.emo_tiny.train --out runs/emo-tiny``.

The run is seeded and logged, and a rerun of the same command continues where the last one stopped.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import click
import numpy as np
import torch

from emo_edge.benchmarks.emo_tiny import data
from emo_edge.benchmarks.emo_tiny.config import WITHOUT_UNITS
from emo_edge.benchmarks.emo_tiny.frozen_features import FrozenFeatures, encode_rows
from emo_edge.benchmarks.emo_tiny.linear_probes import BranchProbes
from emo_edge.benchmarks.emo_tiny.loop import Losses, RunFiles, StageConfig, is_finished, log_entry, train_stage
from emo_edge.benchmarks.emo_tiny.stages import (
    TrunkProbe,
    VisionProbe,
    batch_rows,
    examples_at,
    face_losses,
    language_losses,
    probe_losses,
)
from emo_edge.benchmarks.emo_tiny.tokenizers import write_tokenizers
from emo_edge.console.children import safe_path
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import DeviceError, EmoEdgeError, InputError
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine

FACE = StageConfig("face", steps=4000, batch_size=32, learning_rate=1.5e-3)
VISION = StageConfig("vision", steps=7000, batch_size=32, learning_rate=1e-3, warmup_steps=200)
LANGUAGE = StageConfig("language", steps=1600, batch_size=48, learning_rate=1e-3)
SETTLE = StageConfig("settle", steps=600, batch_size=48, learning_rate=5e-4, warmup_steps=30)
CLIPS_AT_ONCE = 16
IMAGES_EVERY = 3
"""Of so many steps of the language stage one reads images, the others clips; the settle stage reads clips alone."""
PARSE_EVERY = 2
"""Every other face step draws the parsing maps, whose 112 px cost more than the rest of the decoder."""


@dataclass(frozen=True)
class Run:
    """One training run: model, data and where things are kept."""

    model: EmoLlamaForConditionalGeneration
    images: data.Arrays
    clips: data.Arrays
    files: RunFiles
    seed: int
    bf16: bool

    @cached_property
    def clip_features(self) -> FrozenFeatures:
        """Features of the clips' frames, which the language stages read several times."""
        return FrozenFeatures(self.model, self.clips)

    def mean_face(self) -> torch.Tensor:
        """Median landmarks [68, 2] of the first training images: where the landmark heads start."""
        return torch.tensor(np.median(self.images["landmarks"][:2000], axis=0), device=self.model.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Multiply in bfloat16 where asked; weights and losses stay in float32."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16)


def train_face(run: Run, plan: StageConfig = FACE) -> None:
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


def train_vision(run: Run, plan: StageConfig = VISION) -> None:
    """Pre-train the vision tower under a probe; the probe stays in the run's directory."""
    probe = VisionProbe(run.model.config.vision.hidden_size, run.mean_face())
    probed = torch.nn.ModuleDict({"tower": run.model.vision, "probe": probe}).to(run.model.device)

    def losses_at(step: int) -> Losses:
        rows = batch_rows(run.seed + 1, step, len(run.images["vision"]), plan.batch_size)
        with run.autocast():
            features = run.model.vision_features(run.images["vision"][rows])
            return probe_losses(probe(features), run.images, rows)

    train_stage(plan, probed, probed.parameters(), losses_at, run.files)


def train_language(run: Run, plan: StageConfig = LANGUAGE) -> None:
    """Teach connector, Face Info Mining and LLaMA to answer, under probes; the two networks stay as they are."""
    _train_answers(run, plan, images_every=IMAGES_EVERY, probes=BranchProbes(run.model.config))


def train_settle(run: Run, plan: StageConfig = SETTLE) -> None:
    """Go on where the language stage ended, on clips, with a second, lower cosine."""
    _train_answers(run, plan, first_draw=LANGUAGE.steps)


def _train_answers(
    run: Run, plan: StageConfig, *, first_draw: int = 0, images_every: int = 0, probes: BranchProbes | None = None
) -> None:
    model = run.model
    parts = {"connector": model.connector, "face_info": model.face_info, "language": model.language, "probes": probes}
    trained = torch.nn.ModuleDict({name: part for name, part in parts.items() if part is not None}).to(model.device)
    frames = data.TRAIN_CLIPS.frames

    def losses_at(step: int) -> Losses:
        draw = first_draw + step
        before = -(-draw // images_every) if images_every else 0  # batches of images before this one
        clips = draw % images_every > 0 if images_every else True
        arrays, size, batch = (
            (run.clips, CLIPS_AT_ONCE, draw - before) if clips else (run.images, plan.batch_size, before)
        )
        count = len(arrays["expression"]) // (frames if clips else 1)
        items = batch_rows(run.seed + 2, batch, count, size).tolist()
        examples = examples_at(arrays, items, frames, halve_every=4) if clips else examples_at(arrays, items, 1)
        read = run.clip_features.read if clips else partial(encode_rows, run.model, run.images)
        with run.autocast():
            return language_losses(run.model, read, examples, random.Random(f"{run.seed}-{draw}"), probes)

    train_stage(plan, trained, trained.parameters(), losses_at, run.files)


STAGES: tuple[tuple[StageConfig, Callable[[Run, StageConfig], None]], ...] = (
    (FACE, train_face),
    (VISION, train_vision),
    (LANGUAGE, train_language),
    (SETTLE, train_settle),
)
ENCODERS = (FACE.name, VISION.name)
LEAST = max(plan.batch_size for plan, _ in STAGES)
"""Samples of a split, however small the scale: a whole batch."""
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""For glibc and torch, read when a process starts: keep freed memory, and take it in huge pages.

Otherwise large tensors are mapped, and faulted in page by page, anew until glibc has adapted.
"""


@dataclass(frozen=True)
class Settings:
    """Settings of a run, which each of its processes gets."""

    out: Path
    seed: int
    device: str
    bf16: bool
    scale: float
    workers: int

    def splits(self) -> tuple[data.Split, ...]:
        """Images and clips to learn from."""
        both = (data.TRAIN_IMAGES, data.TRAIN_CLIPS)
        return tuple(replace(split, count=max(int(split.count * self.scale), LEAST)) for split in both)


def render(settings: Settings) -> None:
    """Render what the cache lacks, with a progress bar a split."""
    for split in settings.splits():
        with click.progressbar(length=split.count * split.frames, label=f"render {split.name}", file=sys.stderr) as bar:
            data.prepare(split, settings.out / "data", workers=settings.workers, progress=bar.update)


def open_run(settings: Settings) -> Run:
    """Open rendered data and tokenizers; initialise every weight from the seed."""
    images, clips = (
        data.prepare(split, settings.out / "data", workers=1, progress=lambda _: None) for split in settings.splits()
    )
    torch.manual_seed(settings.seed)
    model = EmoLlamaForConditionalGeneration(WITHOUT_UNITS)
    model.load_tokenizers(settings.out)
    return Run(model.to(settings.device), images, clips, RunFiles(settings.out), settings.seed, settings.bf16)


def train_stages(run: Run, names: Sequence[str], scale: float) -> None:
    """Train the named stages in order; a finished one is only loaded."""
    for plan, train in STAGES:
        if plan.name in names:
            torch.manual_seed(run.seed)
            train(run, _scaled(plan, scale))


def _scaled(plan: StageConfig, scale: float) -> StageConfig:
    return replace(plan, steps=max(int(plan.steps * scale), 1))


def train_on_cpu(settings: Settings) -> None:
    """Train every stage in processes of their own, whose allocator returns no memory to the system.

    The encoders do not depend on each other: a process each is faster than all cores on one. Finished stages get none.
    """
    files = RunFiles(settings.out)
    left = [plan.name for plan, _ in STAGES if not is_finished(_scaled(plan, settings.scale), files)]
    if not left:
        return
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    cores = torch.get_num_threads()
    encoders = [[name] for name in ENCODERS if name in left]
    _train_in_processes(settings, encoders, max(cores // len(ENCODERS), 1))
    _train_in_processes(settings, [[plan.name for plan, _ in STAGES]], cores)


def _train_in_processes(settings: Settings, groups: Sequence[Sequence[str]], threads: int) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_train_alone, args=(names, settings, threads)) for names in groups]
    with safe_path():
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise EmoEdgeError("a training process stopped, see its message above; rerun the command to continue")


def _train_alone(names: Sequence[str], settings: Settings, threads: int) -> None:
    torch.set_num_threads(threads)
    train_stages(open_run(settings), names, settings.scale)


@click.command(cls=EdgeCommand)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the run and its checkpoint go.")
@click.option("--seed", default=7, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--bf16/--fp32", default=False, show_default=True, help="Precision of the products while training.")
@click.option("--scale", default=1.0, show_default=True, help="Multiply samples and steps; 0.01 tries the way out.")
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
def main(out: Path, seed: int, device: str, bf16: bool, scale: float, workers: int) -> None:
    """Render, train the four stages, write ``OUT/checkpoint``; rerun it to continue a stopped run."""
    if not 0 < scale < math.inf:
        raise InputError(f"`scale` {scale}: a number above 0")
    started = time.perf_counter()
    settings = Settings(out, seed, _device(device), bf16, scale, workers)
    out.mkdir(parents=True, exist_ok=True)
    log_entry(RunFiles(out), {"started": describe_machine(settings.device), "seed": seed, "scale": scale, "bf16": bf16})
    render(settings)
    write_tokenizers(out, seed)
    if settings.device == "cpu":
        train_on_cpu(settings)
    run = open_run(settings)
    train_stages(run, [plan.name for plan, _ in STAGES], scale)
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


if __name__ == "__main__":
    main()
