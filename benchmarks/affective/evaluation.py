"""Figures of predicted clips: UF1, UAR, accuracy, top-1 and top-5, apex error; of spotted intervals STRS."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.affective.predictions import ClipPrediction
from emo_edge.benchmarks.datasets.affective.clips import ClipDataset, LabelledClip
from emo_edge.errors import InputError
from emo_edge.metrics.by_subject import Figure, figure_of_samples, figure_of_sums
from emo_edge.metrics.classification import macro_f1, top_k_accuracy, uar, war
from emo_edge.metrics.micro_expressions import (
    apex_error,
    recognition_f1,
    spot_then_recognize,
    spotted,
    spotting_f1,
)

FloatArray = NDArray[np.float64]
Rows = NDArray[np.int64]
TOP = (1, 5)
NAMES = {
    "uf1": "UF1, mean over the classes of F1",
    "uar": "UAR, mean over the classes of recall",
    "accuracy": "accuracy",
    "top_1": "top-1 accuracy",
    "top_5": "top-5 accuracy",
    "apex_frames": "apex error, frames",
    "apex_ms": "apex error, ms",
    "f1_spotting": "F1 of spotting",
    "f1_recognition": "F1 of the labels of what was spotted",
    "strs": "STRS, their product",
}


@dataclass(frozen=True)
class ClipReport:
    """All figures of one file of predictions."""

    dataset: str
    subjects: int
    clips: int
    without_prediction: int
    """Clips that count as wrong, or as not spotted."""
    figures: dict[str, Figure]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; a figure is an object of value, low and high."""
        return vars(self) | {"figures": {name: figure._asdict() for name, figure in self.figures.items()}}


def classified(rows: Sequence[ClipPrediction], dataset: ClipDataset) -> ClipReport:
    """Measure one answer to each clip; a clip without one counts as wrong. Raises InputError for two answers."""
    twice = [clip for clip, count in Counter(row.clip for row in rows).items() if count > 1]
    if twice:
        raise InputError(f"{', '.join(twice[:5])}: several rows; one answers a clip, several are intervals: `spotted`")
    answers = {row.clip: row for row in rows}
    own = [answers.get(clip.key) for clip in dataset.clips]
    truth = np.array([dataset.labels.index(clip.label) for clip in dataset.clips])
    labels = np.array([-1 if row is None else dataset.labels.index(row.label) for row in own])
    subjects = [clip.subject for clip in dataset.clips]
    figures = {
        "uf1": figure_of_samples(lambda draw: macro_f1(truth[draw], labels[draw]), subjects),
        "uar": figure_of_samples(lambda draw: uar(truth[draw], labels[draw]), subjects),
        "accuracy": figure_of_samples(lambda draw: war(truth[draw], labels[draw]), subjects),
        **_ranked(own, truth, dataset, subjects),
        **_apexes(own, dataset, subjects),
    }
    return _report(dataset, sum(row is None for row in own), figures)


def _ranked(
    own: Sequence[ClipPrediction | None], truth: Rows, dataset: ClipDataset, subjects: Sequence[str]
) -> dict[str, Figure]:
    """Return accuracies of the highest scores; a clip without an answer has no score at all, and is no hit."""
    if not any(row is not None and row.scores for row in own):
        return {}
    scores = np.zeros((len(own), len(dataset.labels)))
    for target, row in zip(scores, own, strict=True):
        if row is not None:
            target[:] = [row.scores[label] for label in dataset.labels]
    return {
        f"top_{k}": figure_of_samples(partial(_top_k, truth, scores, k), subjects)
        for k in TOP
        if k < len(dataset.labels)
    }


def _top_k(truth: Rows, scores: FloatArray, k: int, draw: Rows) -> float:
    return top_k_accuracy(truth[draw], scores[draw], k)


def _apexes(own: Sequence[ClipPrediction | None], dataset: ClipDataset, subjects: Sequence[str]) -> dict[str, Figure]:
    given = np.array([_number(None if row is None else row.apex) for row in own])
    if np.isnan(given).all():
        return {}
    truth = np.array([_number(clip.apex) for clip in dataset.clips])
    figure = figure_of_samples(lambda draw: apex_error(truth[draw], given[draw]), subjects)
    figures = {"apex_frames": figure}
    if dataset.frames_per_second:
        scale = 1000 / dataset.frames_per_second
        figures["apex_ms"] = Figure(*(None if value is None else value * scale for value in figure))
    return figures


def spotting(rows: Sequence[ClipPrediction], dataset: ClipDataset) -> ClipReport:
    """Measure intervals that were spotted in clips, several or none in each; raise InputError for a row without one."""
    blind = [row.clip for row in rows if row.onset is None or row.offset is None or row.onset > row.offset]
    if blind:
        raise InputError(f"{', '.join(blind[:5])}: an interval has an onset and an offset that does not come before it")
    if any(clip.onset is None or clip.offset is None for clip in dataset.clips):
        raise InputError(f"{dataset.name} has no onset and offset: leave `spotted` out")
    subjects = sorted({clip.subject for clip in dataset.clips})
    sums = np.zeros((len(subjects), 3 + len(dataset.labels) ** 2))
    for clip in dataset.clips:
        own = [row for row in rows if row.clip == clip.key]
        sums[subjects.index(clip.subject)] += _spotted(clip, own, dataset.labels)
    size = len(dataset.labels)
    figures = {
        "f1_spotting": figure_of_sums(lambda total: spotting_f1(*total[:3].tolist()), sums),
        "f1_recognition": figure_of_sums(lambda total: recognition_f1(total[3:].reshape(size, size)), sums),
        "strs": figure_of_sums(lambda total: _strs(total, size), sums),
    }
    named = {row.clip for row in rows}
    return _report(dataset, sum(clip.key not in named for clip in dataset.clips), figures)


def _spotted(clip: LabelledClip, own: Sequence[ClipPrediction], labels: Sequence[str]) -> FloatArray:
    """Return numbers of matches, predictions and true intervals of a clip, and its confusion of labels."""
    assert clip.onset is not None and clip.offset is not None
    pairs = spotted([(clip.onset, clip.offset)], [(row.onset or 0, row.offset or 0) for row in own])
    confusion = np.zeros((len(labels), len(labels)))
    for _, number in pairs:
        confusion[labels.index(clip.label), labels.index(own[number].label)] += 1
    return np.concatenate([[len(pairs), len(own), 1], confusion.ravel()])


def _strs(total: FloatArray, size: int) -> float:
    return spot_then_recognize(spotting_f1(*total[:3].tolist()), recognition_f1(total[3:].reshape(size, size)))


def _report(dataset: ClipDataset, without: int, figures: dict[str, Figure]) -> ClipReport:
    people = len({clip.subject for clip in dataset.clips})
    notes = (*(f"left out: {problem}" for problem in dataset.problems), *dataset.notes)
    return ClipReport(dataset.name, people, len(dataset.clips), without, figures, notes)


def _number(frame: int | None) -> float:
    return math.nan if frame is None else float(frame)
