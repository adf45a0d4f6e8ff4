"""Judgements about held-out drawings, by the model's yes against its no and by the choice between all labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.inference.tasks.answers import EVEN
from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.metrics.classification import wilson_interval
from emo_edge.metrics.unit_detection import roc_auc

SEED = 2711
"""Unlike every seed of training, evaluation and the packaged samples."""
TASK = "expression"
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Judgements:
    """Probabilities [N, labels] of both ways, and the label [N] of each drawing."""

    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    choice: FloatArray
    yes_no: FloatArray

    def evidence(self) -> dict[str, dict[str, float]]:
        """Return the figures that the task of a checkpoint stores."""
        return {"choice": self._choice(), "judgement": self._judgement()}

    def areas(self, scores: FloatArray) -> FloatArray:
        """Return the area under the ROC curve of each label."""
        return label_areas(scores, self.truth)

    def _choice(self) -> dict[str, float]:
        count = len(self.truth)
        accuracy = float((self.choice.argmax(1) == self.truth).mean())
        low, high = wilson_interval(accuracy, count)
        return _figures({"samples": count, "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high})

    def _judgement(self) -> dict[str, float]:
        holds = self.truth[:, None] == np.arange(len(self.labels))
        figures: dict[str, float] = {"samples": len(self.truth)}
        for name, scores in (("choice", self.choice), ("yes_no", self.yes_no)):
            areas, (low, high) = self.areas(scores), self._interval(scores)
            figures |= {f"auc_{name}": float(np.nanmean(areas)), f"auc_{name}_low": low, f"auc_{name}_high": high}
            figures[f"auc_{name}_least_label"] = float(np.nanmin(areas))
            figures[f"correct_{name}"] = float(((scores >= EVEN) == holds).mean())
        return _figures(figures)

    def _interval(self, scores: FloatArray) -> tuple[float, float]:
        def mean_area(draw: NDArray[np.int64]) -> float:
            return float(np.nanmean(label_areas(scores[draw], self.truth[draw])))

        return percentile_interval(resampled(mean_area, len(self.truth)))


def read_drawings(
    bundle: Bundle, profile: str | None, count: int, progress: Callable[[int], None] = lambda done: None
) -> Judgements:
    """Read ``count`` drawings of `SEED` in both ways, inside their true boxes.

    The bundle's own section asks for a choice; the yes and the no are asked with its question for a judgement.
    """
    section = (bundle.manifest.tasks or {})[TASK]
    labels = section.labels
    drawings = [render_face(SEED, index, expressions=labels) for index in range(count)]
    truth = np.array([labels.index(one.expression) for one in drawings])
    rows: dict[str, list[list[float]]] = {"choice": [], "yes-no": []}
    for way, requests in (
        ("choice", [Request(task=TASK, answer="choice")]),
        ("yes-no", [Request(task=TASK, answer="judgement", label=label) for label in labels]),
    ):
        other = Bundle(bundle.directory, asked_by(bundle.manifest, way))
        with EmotionPipeline.open(other, device="cpu", profile=profile) as pipeline:
            for number, one in enumerate(drawings):
                box = tuple(one.box.tolist())
                results = [pipeline.read(one.image, request, boxes=[box])[0] for request in requests]
                if way == "choice":
                    rows[way].append(list(results[0].probabilities.values()))
                else:
                    rows[way].append([float(result.task.probability or 0) for result in results if result.task])
                progress(number + 1)
    return Judgements(labels, truth, np.array(rows["choice"]), np.array(rows["yes-no"]))


def asked_by(manifest: Manifest, way: str) -> Manifest:
    """Return a manifest whose task `TASK` is answered, and whose judgements come by ``way``."""
    tasks = dict(manifest.tasks or {})
    tasks[TASK] = tasks[TASK].model_copy(update={"judgement_by": way, "status": "trained"})
    return manifest.model_copy(update={"tasks": tasks})


def label_areas(scores: FloatArray, truth: NDArray[np.int64]) -> FloatArray:
    """Return the area under the ROC curve of each column of ``scores`` [N, labels] for its label; NaN without one."""
    return np.array([roc_auc(truth == label, scores[:, label]) for label in range(scores.shape[1])])


def _figures(values: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in values.items()}
