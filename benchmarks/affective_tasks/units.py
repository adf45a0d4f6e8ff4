"""Judgements about action units of held-out drawings, by the network that gives them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emo_edge.benchmarks.action_units.features import ACTIVE_FROM
from emo_edge.benchmarks.synthetic.expression import AU_INDEX
from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.metrics.unit_detection import roc_auc

SEED = 2714


def unit_evidence(
    bundle: Bundle, profile: str | None, count: int, progress: Callable[[int], None] = lambda done: None
) -> dict[str, float]:
    """Return the areas under the ROC curve of the units' presences on ``count`` drawings, and how many are right.

    A unit of a drawing is active from `ACTIVE_FROM` of its full strength on. Raises ValueError for a bundle that gives
    no action units.
    """
    section = bundle.manifest.action_units
    if section is None:
        raise ValueError("the bundle gives no action units")
    names, rows = [f"AU{unit}" for unit in section.units], [AU_INDEX[unit] for unit in section.units]
    truth, presence, active = [], [], []
    with EmotionPipeline.open(bundle, device="cpu", profile=profile, emotions=False) as pipeline:
        for index in range(count):
            sample = render_face(SEED, index)
            units = pipeline.read(sample.image, boxes=[tuple(sample.box.tolist())])[0].action_units
            truth.append(sample.action_units[rows] >= ACTIVE_FROM)
            presence.append([units[name].presence for name in names])
            active.append([units[name].active for name in names])
            progress(index + 1)
    holds, scores = np.array(truth), np.array(presence)
    areas = np.array([roc_auc(holds[:, unit], scores[:, unit]) for unit in range(len(names))])
    figures = {
        "auc_head": np.nanmean(areas),
        "auc_head_least_unit": np.nanmin(areas),
        "correct_head": (np.array(active) == holds).mean(),
    }
    return {"samples": float(count), **{name: round(float(value), 4) for name, value in figures.items()}}
