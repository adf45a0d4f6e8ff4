"""Action units of drawn people by every precision of a bundle's network, as infer gives them."""

from __future__ import annotations

import numpy as np

from emo_edge.benchmarks.action_units.evaluation import Evaluation, evaluate
from emo_edge.benchmarks.action_units.predictions import UnitPredictions, predictions_of
from emo_edge.benchmarks.datasets.action_units.recordings import UnitDataset
from emo_edge.benchmarks.datasets.action_units.synthetic import SEED, DrawnPerson, synthetic_units
from emo_edge.benchmarks.emo_tiny.data import jittered
from emo_edge.benchmarks.signals.plan import SignalPlan, networks_of_units, open_networks
from emo_edge.bundle.reader import Bundle
from emo_edge.inference.action_units import UnitReading, unit_name

Rows = list[dict[str, UnitReading]]


def measured_units(bundle: Bundle, plan: SignalPlan) -> dict[str, Evaluation]:
    """Measure ``synthetic-au:N``: N people, eight pictures each, boxed as a detector's box would be.

    Returns the figures by precision. Raises InputError for a bundle without action units.
    """
    networks = networks_of_units(bundle, plan.profiles)
    section = bundle.manifest.action_units
    assert section is not None  # networks_of_units refuses others
    dataset = synthetic_units(plan.count(), section.units)
    predictions: dict[str, dict[str, UnitPredictions]] = {variant: {} for variant in networks}
    progress = plan.reports.of("action units")
    with open_networks(bundle, networks, plan) as opened:
        for index in range(plan.count()):
            person, readings = DrawnPerson(index), {variant: Rows() for variant in networks}
            for number, picture in enumerate(person.pictures()):
                box = jittered(picture.box, np.random.default_rng([SEED, index, number, 42]))
                for variant, pipeline in opened.items():
                    readings[variant].append(pipeline.read(picture.image, boxes=[box])[0].action_units)
            for variant, rows in readings.items():
                predictions[variant][person.key] = _predictions(rows, dataset)
            progress(index + 1, plan.count())
    return {variant: evaluate(own, dataset, dataset.folds) for variant, own in predictions.items()}


def _predictions(rows: Rows, dataset: UnitDataset) -> UnitPredictions:
    names = [unit_name(unit) for unit in dataset.units]
    columns = {
        part: np.array([[getattr(row[name], part) for name in names] for row in rows], np.float64)
        for part in ("active", "presence", "intensity")
    }
    return predictions_of(
        len(names),
        np.arange(len(rows)),
        active=columns["active"],
        probabilities=columns["presence"],
        intensities=columns["intensity"],
    )
