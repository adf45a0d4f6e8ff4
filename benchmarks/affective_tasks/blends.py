"""Compound expressions: drawings that blend the action units of two, and three ways to name them without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from emo_edge.benchmarks.action_units.features import ACTIVE_FROM
from emo_edge.benchmarks.affective_tasks.prototypes import chosen, likelihoods
from emo_edge.benchmarks.synthetic.expression import AU_INDEX, Difficulty, sample_action_units
from emo_edge.benchmarks.synthetic.generator import FaceSample, render_moment, sample_plan
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.metrics.classification import wilson_interval
from emo_edge.taxonomy import LABEL_SETS

SEED = 2712
SET, BASIC = "rafdb-compound11", "rafdb7"
WORDS = {
    "happily": "happiness",
    "sadly": "sadness",
    "fearfully": "fear",
    "angrily": "anger",
    "disgustedly": "disgust",
    "surprised": "surprise",
    "disgusted": "disgust",
    "fearful": "fear",
    "angry": "anger",
}
"""Basic expression of each word of RAF-DB's compound labels."""


def parts_of(label: str) -> tuple[str, str]:
    """Return the two basic expressions of a compound label."""
    first, second = label.split()
    return WORDS[first], WORDS[second]


def blended_face(index: int, *, size: int = 224) -> tuple[FaceSample, str]:
    """Draw face ``index`` of `SEED` with the stronger of two expressions' units each, and return its compound label."""
    labels, difficulty = LABEL_SETS[SET], Difficulty()
    label = labels[index % len(labels)]
    rng = np.random.default_rng([SEED, index, 9])
    plan = sample_plan(SEED, index, ["neutral"], difficulty)
    first, second = (sample_action_units(rng, part, difficulty)[0] for part in parts_of(label))
    units = np.maximum(first, second)
    return render_moment(replace(plan, units=units), size, rng, units, plan.pose), label


def compound_evidence(
    bundle: Bundle, profile: str | None, count: int, progress: Callable[[int], None] = lambda done: None
) -> dict[str, dict[str, float]]:
    """Return the accuracy of naming ``count`` blends: by the choice of compound labels, and by the product of two.

    The product is that of both basic expressions' probabilities in the choice of `BASIC`.
    """
    names = LABEL_SETS[SET]
    right = {"choice": 0, "product_of_two": 0}
    with EmotionPipeline.open(bundle, device="cpu", profile=profile) as pipeline:
        for index in range(count):
            sample, label = blended_face(index)
            box = tuple(sample.box.tolist())
            compound, basic = (
                pipeline.read(sample.image, Request(labels=labels), boxes=[box])[0] for labels in (SET, BASIC)
            )
            products = {name: float(np.prod([basic.probabilities[part] for part in parts_of(name)])) for name in names}
            right["choice"] += compound.label == label
            right["product_of_two"] += max(products, key=products.__getitem__) == label
            progress(index + 1)
    return {name: _accuracy(hits, count) for name, hits in right.items()}


def prototype_evidence(
    bundle: Bundle, profile: str | None, count: int, progress: Callable[[int], None] = lambda done: None
) -> dict[str, dict[str, float]]:
    """Return the accuracy of naming ``count`` blends by the prototypes of their action units: no language model.

    ``prototypes`` is that of the units that the network gives, ``prototypes_of_drawn_units`` of those that were drawn,
    which is all that the rule itself can reach. Raises ValueError for a bundle that gives no action units.
    """
    section = bundle.manifest.action_units
    if section is None:
        raise ValueError("the bundle gives no action units")
    names, right = LABEL_SETS[SET], {"prototypes": 0, "prototypes_of_drawn_units": 0}
    rows = [AU_INDEX.get(unit) for unit in section.units]
    with EmotionPipeline.open(bundle, device="cpu", profile=profile, emotions=False) as pipeline:
        for index in range(count):
            sample, label = blended_face(index)
            (result,) = pipeline.read(sample.image, boxes=[tuple(sample.box.tolist())])
            drawn = [row is not None and sample.action_units[row] >= ACTIVE_FROM for row in rows]
            given = [unit.presence for unit in result.action_units.values()]
            for way, presence in (("prototypes", given), ("prototypes_of_drawn_units", drawn)):
                right[way] += chosen(likelihoods(presence, section.units, names, parts_of)) == label
            progress(index + 1)
    return {way: _accuracy(hits, count) for way, hits in right.items()}


def _accuracy(hits: int, count: int) -> dict[str, float]:
    accuracy = hits / count
    low, high = wilson_interval(accuracy, count)
    figures = {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high, "chance": 1 / len(LABEL_SETS[SET])}
    return {"samples": float(count), **{name: round(value, 4) for name, value in figures.items()}}
