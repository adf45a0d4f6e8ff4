"""Micro-expressions spotted in the action units of drawn clips, and named by a rule: nothing is trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.affective.evaluation import classified
from emo_edge.benchmarks.affective.predictions import ClipPrediction
from emo_edge.benchmarks.affective_tasks.prototypes import chosen, similarities
from emo_edge.benchmarks.datasets.affective.clips import ClipDataset
from emo_edge.benchmarks.datasets.affective.synthetic import DrawnClip, class_of, drawn_clips, synthetic_micro
from emo_edge.benchmarks.signals.plan import SignalPlan, networks_of_units, open_networks
from emo_edge.benchmarks.synthetic.micro.clips import EXPRESSIONS
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.tasks.spotting import SpottedMovement, clearest_movement
from emo_edge.metrics.by_subject import Figure, figure_of_sums
from emo_edge.metrics.micro_expressions import recognition_f1, spot_then_recognize, spotting_f1
from emo_edge.metrics.micro_expressions import spotted as matches

FloatArray = NDArray[np.float64]
NAMES = {
    "hits": "movements that are spotted",
    "false_alarms": "faces at rest in which one is spotted",
    "f1_spotting": "F1 of spotting",
    "apex_hits_frames": "apex error of the spotted ones, frames",
    "apex_frames": "apex error wherever one is spotted, frames",
    "apex_ms": "apex error wherever one is spotted, ms",
    "uf1": "UF1 of three classes",
    "uar": "UAR of three classes",
    "strs": "STRS, F1 of spotting times F1 of the classes",
}


@dataclass(frozen=True)
class ClipFinding:
    """Movement that was spotted in one clip."""

    key: str
    truth: tuple[int, int, int] | None
    """Onset, apex, offset; None of a face at rest."""
    label: str | None
    """Class of the truth."""
    peak: float | None
    """Of the true movement, of 0 to 1."""
    spotted: tuple[int, int, int] | None
    score: float | None
    named: str | None
    """Class by the rule."""

    @property
    def hit(self) -> bool:
        """Return whether the true movement was spotted: an overlap of half, intersection over union."""
        if self.truth is None or self.spotted is None:
            return False
        return bool(matches([(self.truth[0], self.truth[2])], [(self.spotted[0], self.spotted[2])]))


@dataclass(frozen=True)
class MicroFigures:
    """Figures of one precision."""

    findings: tuple[ClipFinding, ...]
    figures: dict[str, Figure]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        figures = {name: figure._asdict() for name, figure in self.figures.items()}
        return {"figures": figures, "clips": [vars(one) for one in self.findings]}


def measured_micro_expressions(bundle: Bundle, plan: SignalPlan) -> dict[str, MicroFigures]:
    """Measure ``synthetic-micro:N``: N clips with a movement and a third as many faces at rest.

    Faces are found and followed as infer does. Returns the figures by precision. Raises InputError for a bundle
    without action units.
    """
    networks = networks_of_units(bundle, plan.profiles)
    section = bundle.manifest.action_units
    assert section is not None  # networks_of_units refuses others
    clips = drawn_clips(plan.count())
    dataset = synthetic_micro(clips)
    findings: dict[str, list[ClipFinding]] = {variant: [] for variant in networks}
    progress = plan.reports.of("micro-expressions")
    with open_networks(bundle, networks, plan) as opened:
        for number, clip in enumerate(clips):
            frames = list(clip.frames())
            for variant, pipeline in opened.items():
                movement = _spotted(pipeline, frames)
                findings[variant].append(_finding(clip, movement, section.units))
            progress(number + 1, len(clips))
    return {variant: MicroFigures(tuple(own), figures_of(own, dataset)) for variant, own in findings.items()}


def _spotted(pipeline: EmotionPipeline, frames: Sequence[Any]) -> SpottedMovement | None:
    try:
        return clearest_movement(pipeline.unit_curve(frames))
    except InputError:  # no frame shows a face
        return None


def _finding(clip: DrawnClip, movement: SpottedMovement | None, units: Sequence[int]) -> ClipFinding:
    true = clip.movement()
    interval = score = named = None
    if movement is not None:
        own = movement.moments
        interval, score = (own.onset, own.apex, own.offset), round(movement.score, 1)
        named = class_of(chosen(similarities(movement.rises, units, EXPRESSIONS, lambda name: (name,))))
    return ClipFinding(
        clip.key,
        None if true is None else (true.onset, true.apex, true.offset),
        None if true is None else class_of(true.expression),
        None if true is None else round(true.peak, 4),
        interval,
        score,
        named,
    )


def figures_of(findings: Sequence[ClipFinding], dataset: ClipDataset) -> dict[str, Figure]:
    """Return the figures of what was spotted, with intervals over faces; the dataset's clips are those that move."""
    moving = [one for one in findings if one.truth is not None]
    rows = [
        ClipPrediction(one.key, one.named or "", one.spotted[0], one.spotted[1], one.spotted[2], {})
        for one in moving
        if one.spotted is not None
    ]
    report = classified(rows, dataset).figures
    size = len(dataset.labels)
    sums = np.stack([_sums(one, dataset.labels) for one in findings])
    hits = np.array([[one.hit, 1, abs(_apex(one)) if one.hit else 0] for one in moving], np.float64)
    rest = np.array([[one.spotted is not None, 1] for one in findings if one.truth is None], np.float64)
    return {
        "hits": figure_of_sums(_ratio, hits),
        "false_alarms": figure_of_sums(_ratio, rest),
        "f1_spotting": figure_of_sums(lambda total: spotting_f1(*total[:3].tolist()), sums),
        "apex_hits_frames": figure_of_sums(lambda total: float(total[2] / total[0]) if total[0] else np.nan, hits),
        **{name: report[name] for name in ("apex_frames", "apex_ms", "uf1", "uar") if name in report},
        "strs": figure_of_sums(lambda total: _strs(total, size), sums),
    }


def _ratio(total: FloatArray) -> float:
    return float(total[0] / total[1]) if total[1] else np.nan


def _apex(one: ClipFinding) -> int:
    assert one.truth is not None and one.spotted is not None  # of a hit
    return one.spotted[1] - one.truth[1]


def _sums(one: ClipFinding, labels: Sequence[str]) -> FloatArray:
    """Return numbers of hits, of spotted and of true movements of a clip, and the confusion of the classes of hits."""
    confusion = np.zeros((len(labels), len(labels)))
    if one.hit and one.label is not None and one.named is not None:
        confusion[labels.index(one.label), labels.index(one.named)] = 1
    return np.concatenate([[one.hit, one.spotted is not None, one.truth is not None], confusion.ravel()])


def _strs(total: FloatArray, size: int) -> float:
    return spot_then_recognize(spotting_f1(*total[:3].tolist()), recognition_f1(total[3:].reshape(size, size)))
