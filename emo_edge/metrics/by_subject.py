"""Intervals over subjects: all samples of a person are drawn together (bootstrap of clusters, Field and Welsh 2007).

Frames of one person resemble each other, so that an interval over frames would be far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emo_edge.metrics.bootstrap import RESAMPLES, SEED, percentile_interval

FloatArray = NDArray[np.float64]
LEAST_DEFINED = 0.95
"""Fraction of the draws in which a figure must be defined: a unit that one person alone shows has no interval."""
Interval = tuple[float, float]


class Figure(NamedTuple):
    """A figure and its 95 % interval over subjects; None where either is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


NO_FIGURE = Figure(None)


def figure_of_sums(figure: Callable[[FloatArray], float], sums: FloatArray, seed: int = SEED) -> Figure:
    """Return a figure of all subjects' sums, [subjects, ...], with the interval of `interval_of_sums`."""
    value = figure(sums.sum(0)) if len(sums) else math.nan
    return NO_FIGURE if math.isnan(value) else Figure(value, *(interval_of_sums(figure, sums, seed) or (None, None)))


def figure_of_samples(
    figure: Callable[[NDArray[np.int64]], float], subjects: Sequence[str], seed: int = SEED
) -> Figure:
    """Return a figure of all samples, given their indices, with the interval of `interval_of_samples`."""
    value = figure(np.arange(len(subjects)))
    if math.isnan(value):
        return NO_FIGURE
    return Figure(value, *(interval_of_samples(figure, subjects, seed) or (None, None)))


def drawn_counts(subjects: int, seed: int = SEED, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Return how often each subject is drawn, int64 [resamples, subjects]; every row sums to ``subjects``."""
    draws = np.random.default_rng(seed).integers(0, subjects, (resamples, subjects))
    return np.stack([np.bincount(draw, minlength=subjects) for draw in draws])


def interval_of_sums(figure: Callable[[FloatArray], float], sums: FloatArray, seed: int = SEED) -> Interval | None:
    """Return the 95 % percentile interval of a figure that is computed from sums over samples.

    Args:
        figure: of sums [...] over all samples; NaN where it is not defined.
        sums: of each subject's samples, [subjects, ...].
        seed: of the draws.

    Draws in which the figure is not defined are left out. Returns None for fewer than two subjects, and where fewer
    than `LEAST_DEFINED` of the draws have a figure.
    """
    if len(sums) < 2:
        return None
    return _interval([figure(np.tensordot(counts, sums, 1)) for counts in drawn_counts(len(sums), seed)])


def interval_of_samples(
    figure: Callable[[NDArray[np.int64]], float], subjects: Sequence[str], seed: int = SEED
) -> Interval | None:
    """Return the 95 % percentile interval of a figure of samples, given the indices of those that are drawn.

    ``subjects`` names the person of each sample; NaN and too few subjects as in `interval_of_sums`.
    """
    rows = list(_rows(subjects))
    if len(rows) < 2:
        return None
    return _interval([figure(_drawn(rows, counts)) for counts in drawn_counts(len(rows), seed)])


def _rows(subjects: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    _, numbers = np.unique(np.asarray(subjects, str), return_inverse=True)
    yield from (np.flatnonzero(numbers == number) for number in range(int(numbers.max(initial=-1)) + 1))


def _drawn(rows: Sequence[NDArray[np.int64]], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.tile(own, count) for own, count in zip(rows, counts, strict=True)])


def _interval(figures: Sequence[float]) -> Interval | None:
    defined = [value for value in figures if not math.isnan(value)]
    if len(defined) < LEAST_DEFINED * len(figures):
        return None
    return percentile_interval(np.array(defined))
