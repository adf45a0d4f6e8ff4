"""Expressions: action-unit intensities drawn around EMFACS-like prototypes, with tunable ambiguity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.taxonomy import ACTION_UNITS

AU_INDEX = {unit: row for row, unit in enumerate(ACTION_UNITS)}
"""Row of each FACS action-unit number in an intensity vector."""


@dataclass(frozen=True)
class Prototype:
    """The action units of an expression: always drawn, often drawn (chance 0.5 each), or one of a confusable pair."""

    core: tuple[int, ...]
    optional: tuple[int, ...] = ()


PROTOTYPES: dict[str, Prototype] = {
    "neutral": Prototype(()),
    "happiness": Prototype((6, 12), (25,)),
    "sadness": Prototype((1, 4, 15), (17,)),
    "surprise": Prototype((1, 2, 5, 26), (25,)),
    "fear": Prototype((1, 2, 4, 5, 20, 25)),
    "disgust": Prototype((9, 10, 17), (7, 15)),
    "anger": Prototype((4, 5, 7, 23), (24,)),
    "contempt": Prototype((12, 14)),
}
"""EMFACS-like prototypes (Ekman and Friesen's investigator's guide lists the full variants); contempt is one-sided."""


@dataclass(frozen=True)
class Difficulty:
    """Difficulty of reading the faces; every chance is per sample, every range is uniform.

    `weak_probability`: the whole expression is drawn at `weak_range` of its strength. `drop_probability`: chance of
    each core unit to be missing. `blend_probability`: one unit of the confusable neighbour is added.
    `stray_probability`: one unrelated weak unit. Angles are in radians, blur in pixels at 224 px, noise in grey levels.
    """

    weak_probability: float = 0.04
    weak_range: tuple[float, float] = (0.1, 0.5)
    drop_probability: float = 0.05
    blend_probability: float = 0.05
    stray_probability: float = 0.08
    background_range: tuple[float, float] = (0.0, 0.08)
    intensity_range: tuple[float, float] = (0.5, 1.0)
    occlusion_probability: float = 0.12
    blur_probability: float = 0.15
    blur_range: tuple[float, float] = (0.5, 1.6)
    noise_range: tuple[float, float] = (0.5, 5.0)
    jpeg_range: tuple[int, int] = (35, 95)
    max_yaw: float = 0.52
    max_pitch: float = 0.52
    max_roll: float = 0.35
    pose_sigma: float = 0.17


_NEIGHBOUR = {
    "surprise": (4, 20),
    "fear": (26,),
    "disgust": (4, 7),
    "anger": (9, 10, 17),
    "sadness": (20, 7),
    "happiness": (7, 14),
    "contempt": (10,),
    "neutral": (),
}


def sample_action_units(
    rng: np.random.Generator, expression: str, difficulty: Difficulty
) -> tuple[NDArray[np.float32], int]:
    """Draw the intensities [17] in 0..1 of an expression and its side (0 both, -1 the person's right, +1 the left)."""
    low, high = difficulty.background_range
    units = rng.uniform(low, high, len(ACTION_UNITS))
    prototype = PROTOTYPES[expression]
    chosen = [unit for unit in prototype.core if rng.random() >= difficulty.drop_probability]
    chosen += [unit for unit in prototype.optional if rng.random() < 0.5]
    strength = rng.uniform(*difficulty.intensity_range)
    if rng.random() < difficulty.weak_probability:
        strength = rng.uniform(*difficulty.weak_range)
    for unit in chosen:
        units[AU_INDEX[unit]] = strength * rng.uniform(0.8, 1.1)
    neighbours = _NEIGHBOUR[expression]
    if neighbours and rng.random() < difficulty.blend_probability:
        units[AU_INDEX[int(rng.choice(neighbours))]] = rng.uniform(0.3, 0.7)
    if rng.random() < difficulty.stray_probability:
        units[int(rng.integers(len(units)))] = rng.uniform(0.3, 0.45)
    side = int(rng.choice((-1, 1))) if expression == "contempt" else 0
    return np.clip(units, 0.0, 1.0).astype(np.float32), side


def sided_intensities(units: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Spread intensities [17] over the two halves of the face: [17,2], column 0 the person's right.

    Units 12 and 14 act on one half only when `side` is not 0.
    """
    both = np.repeat(units[:, None], 2, axis=1)
    if side:
        rows = [AU_INDEX[12], AU_INDEX[14]]
        both[rows, 0 if side > 0 else 1] = 0.0
    return both.astype(np.float32)
