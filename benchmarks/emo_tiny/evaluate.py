"""Measure a full-precision checkpoint on held-out drawings.

``python -m emo_edge.benchmarks.emo_tiny.evaluate`` prints the table of the packaged emo-tiny. ``--keep`` writes it
next to the weights: ``evaluation.json`` with the machine, the versions and every sample's answer, and the model card.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.emo_tiny.data import CUE_THRESHOLD, TEST_CLIPS, TEST_IMAGES, Arrays, Split, prepare
from emo_edge.benchmarks.emo_tiny.instructions import OPEN_QUESTIONS
from emo_edge.benchmarks.emo_tiny.model_card import model_card
from emo_edge.bundle.prompts import classify_question
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.export.reference.weights import WEIGHTS_NAME
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics import classification
from emo_edge.metrics.facial_cues import cues_in
from emo_edge.metrics.unit_detection import detection_counts, f1_of_counts, mean_of_defined
from emo_edge.metrics.value_agreement import icc_3_1
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS, LABEL_SETS, PARSING_CLASSES

LABELS = LABEL_SETS["rafdb7"]
DESCRIBE = OPEN_QUESTIONS[2]
TEST_UNITS = Split("units-test", seed=711, count=1500)
"""Of every expression, contempt as well: without it there is next to no AU14. No training has seen these drawings."""
BATCH = 50


@dataclass(frozen=True)
class Setting:
    """One row of the table: parts that are left out of the prompt."""

    name: str
    ablate: tuple[str, ...] = ()
    demographics: bool | None = None


FULL = Setting("full")
ABLATIONS = (
    Setting("without face tokens", ablate=("face",)),
    Setting("without vision tokens", ablate=("vision",)),
    Setting("without demographic sentence", demographics=False),
)


@dataclass(frozen=True)
class Answers:
    """Labels and texts that the model gives for each item, in order."""

    labels: dict[str, NDArray[np.int64]]
    """Most probable label by setting, as indices into ``LABELS``."""
    texts: list[str]
    """Greedy answers to the question for visible cues; empty if it was not asked."""


def answer(
    model: EmoLlamaForConditionalGeneration,
    arrays: Arrays,
    items: Sequence[slice],
    settings: Sequence[Setting] = (FULL,),
    *,
    describe: bool = False,
) -> Answers:
    """Classify each item (a slice of rows: an image or a clip) under each setting; encode its frames once."""
    question = classify_question(model.config.prompt, LABELS, clip=items[0].stop - items[0].start > 1)
    scores: dict[str, list[NDArray[np.float32]]] = {setting.name: [] for setting in settings}
    texts: list[str] = []
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        rows = np.concatenate([np.arange(item.start, item.stop) for item in batch])
        features = model.encode_crops(arrays["vision"][rows], arrays["face"][rows])
        for setting in settings:
            prompts = model.embed_prompts(features, _prompts(batch, question, setting), setting.ablate)
            scores[setting.name].append(model.score_prompts(prompts, LABELS))
        if describe:
            prompts = model.embed_prompts(features, _prompts(batch, DESCRIBE, FULL))
            texts += model.answer_prompts(prompts, Sampling(max_new_tokens=80))
    return Answers({name: np.concatenate(values).argmax(-1) for name, values in scores.items()}, texts)


def _prompts(batch: Sequence[slice], question: str, setting: Setting) -> list[PromptInput]:
    lengths = [item.stop - item.start for item in batch]
    stops = np.cumsum(lengths).tolist()
    return [
        PromptInput(slice(stop - length, stop), question, length > 1, setting.demographics)
        for stop, length in zip(stops, lengths, strict=True)
    ]


def face_figures(model: EmoLlamaForConditionalGeneration, arrays: Arrays) -> dict[str, float]:
    """Accuracy of every face head on the arrays' rows."""
    collected: dict[str, list[NDArray[Any]]] = {}
    counts = np.zeros((len(PARSING_CLASSES),) * 2, np.int64)
    for start in range(0, len(arrays["face"]), BATCH):
        rows = slice(start, start + BATCH)
        outputs = model.face_outputs(arrays["face"][rows])
        assert outputs.segmentation is not None
        parsed = outputs.segmentation.argmax(1).cpu().numpy()
        counts += classification.confusion(arrays["parsing"][rows].ravel(), parsed.ravel(), len(PARSING_CLASSES))
        for name in ("landmarks", "pose", "attributes", "visibility", "age", "gender", "race"):
            collected.setdefault(name, []).append(getattr(outputs, name).float().cpu().numpy())
    predicted = {name: np.concatenate(parts) for name, parts in collected.items()}
    drawn = arrays["attributes"] >= 0
    right = (predicted["attributes"] >= 0) == (arrays["attributes"] == 1)
    scale = np.asarray(arrays["region"][:, 2:] - arrays["region"][:, :2])[:, None]
    nme = classification.normalised_mean_error(predicted["landmarks"] * scale, arrays["landmarks"] * scale)
    return {
        "landmark NME": float(nme.mean()),
        "pose error, degrees": float(np.degrees(np.abs(predicted["pose"] - arrays["pose"]).mean())),
        "attribute accuracy (drawn ones)": float(right[drawn].mean()),
        "visibility accuracy": float(((predicted["visibility"] >= 0) == (arrays["visibility"] == 1)).mean()),
        "parsing mean IoU": classification.mean_iou(counts),
        **{
            f"{name} accuracy": classification.war(np.asarray(arrays[name]), predicted[name].argmax(-1))
            for name in ("gender", "age", "race")
        },
    }


def unit_figures(model: EmoLlamaForConditionalGeneration, arrays: Arrays) -> dict[str, float]:
    """Measure the action units on the arrays' rows; nothing of a checkpoint that gives none.

    A unit is there from a drawn intensity of `CUE_THRESHOLD` on, hidden or not.
    """
    config = model.config.action_units
    if config is None or model.units is None:
        return {}
    columns = [ACTION_UNITS.index(unit) for unit in config.units]
    drawn = np.asarray(arrays["action_units"], np.float64)[:, columns]
    presence, intensity = [], []
    for start in range(0, len(drawn), BATCH):
        _, units = model.face_and_units(arrays["face"][start : start + BATCH])
        assert units is not None
        presence.append(units.presence.float().sigmoid().cpu().numpy())
        intensity += [] if units.intensity is None else [units.intensity.float().cpu().numpy()]
    active = np.concatenate(presence) >= np.asarray(config.active_from)
    scores = f1_of_counts(detection_counts(drawn >= CUE_THRESHOLD, active))
    worst = int(np.nanargmin(scores))
    measured = {
        f"mean F1 of {len(columns)}": mean_of_defined(scores),
        f"lowest F1 (AU{config.units[worst]})": float(scores[worst]),
    }
    if intensity:
        levels = np.concatenate(intensity)
        agreement = np.array([icc_3_1(5 * drawn[:, unit], levels[:, unit]) for unit in range(len(columns))])
        measured["mean ICC(3,1) of intensities"] = mean_of_defined(agreement)
    return measured


@torch.inference_mode()
def evaluate(model: EmoLlamaForConditionalGeneration, images: Arrays, clips: Arrays, frames: int) -> dict[str, Any]:
    """Every figure of the table, with each sample's truth and answers."""
    image_items = [slice(row, row + 1) for row in range(len(images["expression"]))]
    clip_items = [slice(start, start + frames) for start in range(0, len(clips["expression"]), frames)]
    middle_items = [slice(item.start + frames // 2, item.start + frames // 2 + 1) for item in clip_items]
    truth = _label_ids(images["expression"])
    clip_truth = _label_ids(clips["expression"][::frames])
    still = answer(model, images, image_items, (FULL, *ABLATIONS), describe=True)
    rows = {f"images, {name}": _row(truth, predicted) for name, predicted in still.labels.items()}
    for name, items in ((f"clips, {frames} frames", clip_items), ("the same clips, middle frame", middle_items)):
        rows[name] = _row(clip_truth, answer(model, clips, items).labels[FULL.name])
    true_cues = [_cues(row) for row in images["cues"]]
    return {
        "expression": rows,
        "face": face_figures(model, images),
        "cue micro-F1": classification.micro_f1(true_cues, [cues_in(text) for text in still.texts]),
        "confusion": classification.confusion(truth, still.labels[FULL.name], len(LABELS)).tolist(),
        "labels": list(LABELS),
        "samples": [
            {
                "label": LABELS[true],
                "answers": {name: LABELS[ids[row]] for name, ids in still.labels.items()},
                "said": text,
            }
            for row, (true, text) in enumerate(zip(truth, still.texts, strict=True))
        ],
    }


def _label_ids(expressions: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([LABELS.index(EXPRESSIONS[value]) for value in expressions])


def _cues(row: NDArray[np.uint8]) -> set[int]:
    return {unit for unit, visible in zip(ACTION_UNITS, row, strict=True) if visible}


def _row(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, Any]:
    accuracy = classification.war(truth, predicted)
    return {
        "samples": len(truth),
        "war": accuracy,
        "war_interval": classification.wilson_interval(accuracy, len(truth)),
        "uar": classification.uar(truth, predicted),
        "uar_interval": classification.bootstrap_interval(truth, predicted),
    }


def table(report: dict[str, Any]) -> str:
    """Markdown of a report: what README and model card show."""
    lines = [
        "| 7 expressions, one prefill | samples | WAR (95 % interval) | UAR (95 % interval) |",
        "|---|---|---|---|",
    ]
    for name, row in report["expression"].items():
        intervals = [
            f"{row[key]:.3f} ({row[f'{key}_interval'][0]:.3f}–{row[f'{key}_interval'][1]:.3f})"
            for key in ("war", "uar")
        ]
        lines.append(f"| {name} | {row['samples']} | {intervals[0]} | {intervals[1]} |")
    lines += ["", f"| face network, {report['expression']['images, full']['samples']} images | |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in report["face"].items()]
    lines += [f"| described cues, micro-F1 | {report['cue micro-F1']:.3f} |", ""]
    if units := report.get("action units"):
        lines += [f"| action units, {TEST_UNITS.count} images | |", "|---|---|"]
        lines += [*(f"| {name} | {value:.3f} |" for name, value in units.items()), ""]
    return "\n".join([*lines, f"{report['machine']}"])


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--keep", is_flag=True, help="Write evaluation.json and the model card into CHECKPOINT.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/held-out"), show_default=True)
@click.option("--images", default=TEST_IMAGES.count, show_default=True)
@click.option("--clips", default=TEST_CLIPS.count, show_default=True)
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
def main(checkpoint: Path | None, keep: bool, cache: Path, images: int, clips: int, workers: int) -> None:
    """Measure CHECKPOINT (the packaged emo-tiny by default) on held-out drawings and print the table."""
    directory = checkpoint or packaged_checkpoint("emo-tiny")
    model = EmoLlamaForConditionalGeneration.from_pretrained(directory)
    splits = (replace(TEST_IMAGES, count=images), replace(TEST_CLIPS, count=clips))
    image_arrays, clip_arrays = (_rendered(split, cache, workers) for split in splits)
    report = evaluate(model, image_arrays, clip_arrays, TEST_CLIPS.frames)
    if model.config.action_units:
        report["action units"] = unit_figures(model, _rendered(TEST_UNITS, cache, workers))
    seeds = f"images seed {TEST_IMAGES.seed}, clips seed {TEST_CLIPS.seed}, action units seed {TEST_UNITS.seed}"
    report["parameters"] = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    report["weights_sha256"] = hashlib.sha256((directory / WEIGHTS_NAME).read_bytes()).hexdigest()
    report["machine"] = f"{describe_machine()}; {seeds}; synthetic drawings"
    click.echo(table(report))
    if keep:
        (directory / "evaluation.json").write_text(json.dumps(report, allow_nan=False) + "\n", encoding="utf-8")
        (directory / "README.md").write_text(model_card(report, table(report)), encoding="utf-8")


def _rendered(split: Split, cache: Path, workers: int) -> Arrays:
    with click.progressbar(length=split.count * split.frames, label=f"render {split.name}", file=sys.stderr) as bar:
        return prepare(split, cache, workers=workers, progress=bar.update)


if __name__ == "__main__":
    main()
