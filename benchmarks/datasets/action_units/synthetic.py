"""Drawn people as a data set of action units: several pictures of each, their labels known without drawing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.datasets.action_units.recordings import Folds, Recording, UnitDataset
from emo_edge.benchmarks.synthetic.expression import AU_INDEX, Difficulty, sample_action_units
from emo_edge.benchmarks.synthetic.generator import FaceSample, Plan, render_moment, sample_plan
from emo_edge.errors import InputError
from emo_edge.taxonomy import EXPRESSIONS

NAME = "synthetic-au"
SEED = 9500
"""Unlike every seed of training, of the choice of thresholds, and of other measurements."""
PICTURES = 8
"""Of each person: the eight expressions."""
ACTIVE_FROM = 0.2
"""Intensity of 0 to 1 from which a unit counts as active, hidden behind something or not."""
HIGHEST = 5.0
"""Of FACS's intensities."""
FOLDS = 3
DIFFICULTY = Difficulty(occlusion_probability=0.25)
"""A quarter of the people is covered in part, as in the training of emo-tiny."""


@dataclass(frozen=True)
class DrawnPerson:
    """One person."""

    index: int

    @property
    def key(self) -> str:
        """Return the name of the recording, and of its subject."""
        return f"{NAME}-{self.index:05d}"

    def plans(self) -> Iterator[Plan]:
        """Yield the choices of each picture: one face, one camera, other expressions and poses."""
        person = sample_plan(SEED, self.index, ["neutral"], DIFFICULTY)
        for number, expression in enumerate(EXPRESSIONS):
            other = sample_plan(SEED, self.index * PICTURES + number, [expression], DIFFICULTY)
            rng = np.random.default_rng([SEED, self.index, number, 40])
            units, side = sample_action_units(rng, expression, DIFFICULTY)
            yield replace(person, expression=expression, units=units, side=side, pose=other.pose, gaze=other.gaze)

    def pictures(self, *, size: int = 224) -> Iterator[FaceSample]:
        """Draw the pictures."""
        for number, plan in enumerate(self.plans()):
            noise = np.random.default_rng([SEED, self.index, number, 41])
            yield render_moment(plan, size, noise, plan.units, plan.pose)


def synthetic_units(count: int, units: tuple[int, ...]) -> UnitDataset:
    """Open the labels of ``count`` people for ``units`` by their FACS numbers, in three folds.

    Raises InputError for fewer people than folds, and for units of which none is ever drawn.
    """
    if count < FOLDS:
        raise InputError(f"{NAME}:{count}: {FOLDS} folds need {FOLDS} people or more")
    drawn = tuple(unit for unit in units if unit in AU_INDEX)
    if not drawn:
        raise InputError(
            f"{NAME}: none of the bundle's units is ever drawn; drawings have {', '.join(map(str, AU_INDEX))}"
        )
    people = [DrawnPerson(index) for index in range(count)]
    folds: Folds = tuple(tuple(person.key for person in people[fold::FOLDS]) for fold in range(FOLDS))
    absent = [f"AU{unit}" for unit in units if unit not in drawn]
    notes = ("drawings, no people", *([f"never drawn, and not measured: {', '.join(absent)}"] if absent else []))
    return UnitDataset(NAME, drawn, tuple(_recording(person, drawn) for person in people), folds, notes)


def _recording(person: DrawnPerson, units: tuple[int, ...]) -> Recording:
    rows = [AU_INDEX[unit] for unit in units]
    levels = np.array([plan.units[rows] for plan in person.plans()], np.float64)
    frames: NDArray[np.int64] = np.arange(len(levels))
    return Recording(
        person.key, person.key, frames, (levels >= ACTIVE_FROM).astype(np.float64), HIGHEST * levels, first_frame=0
    )
