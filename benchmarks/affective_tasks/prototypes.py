"""Names of expressions read off action units by a rule that nobody trained: the units of each name's prototypes.

The prototypes are EMFACS-like and those that drawings are made from, so that a figure on drawings is the rule at its
best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_edge.benchmarks.synthetic.expression import PROTOTYPES

FloatArray = NDArray[np.float64]
CORE, OPTIONAL, OTHER = 0.95, 0.5, 0.05
"""Probability of a unit in an expression: of its core, of those that it may have, of any other."""
Parts = Callable[[str], Sequence[str]]
"""Gives the basic expressions that a name is made of."""


def expected_units(parts: Sequence[str], units: Sequence[int]) -> FloatArray:
    """Return the probability of each of ``units`` by FACS number, [U]; of several expressions the larger one."""
    core = {unit for part in parts for unit in PROTOTYPES[part].core}
    optional = {unit for part in parts for unit in PROTOTYPES[part].optional}
    return np.array([CORE if unit in core else OPTIONAL if unit in optional else OTHER for unit in units])


def likelihoods(presence: ArrayLike, units: Sequence[int], names: Sequence[str], parts: Parts) -> dict[str, float]:
    """Return a probability of each name from those of the units, [U]: the softmax of expected log-likelihoods.

    Units count as independent, and a presence as the probability that its unit is there.
    """
    there = np.asarray(presence, np.float64)
    expected = np.stack([expected_units(parts(name), units) for name in names])
    scores = (there * np.log(expected) + (1 - there) * np.log(1 - expected)).sum(1)
    chances = np.exp(scores - scores.max())
    return dict(zip(names, (chances / chances.sum()).tolist(), strict=True))


def similarities(rises: ArrayLike, units: Sequence[int], names: Sequence[str], parts: Parts) -> dict[str, float]:
    """Return the cosine between the rises of units, [U], and the units of each name, in [0, 1].

    For a weak movement, in which no unit is present: only the ratios of the rises count, and a fall counts as none.
    """
    risen = np.maximum(np.asarray(rises, np.float64), 0)
    patterns = np.stack([expected_units(parts(name), units) - OTHER for name in names])
    size = np.linalg.norm(risen) * np.linalg.norm(patterns, axis=1)
    cosines = np.divide(patterns @ risen, size, out=np.zeros(len(names)), where=size > 0)
    return dict(zip(names, cosines.tolist(), strict=True))


def chosen(scores: Mapping[str, float]) -> str:
    """Return the name with the highest score."""
    return max(scores, key=scores.__getitem__)
