"""Significance of changes: tests of accuracy and of raw times, and the correction for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.report.schema_types import Interval

ALPHA = 0.05
"""Chance that anything at all is called a change where there is none."""
SWAPS, RESAMPLES = 2000, 500
Z = 1.96
LARGEST_LIKENESS = 0.95


def swapped_p(truth: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64], seed: int = 0) -> float:
    """Two-sided p that the UAR of both is the same: predictions swapped at random, sample by sample.

    A permutation test for pairs (Fisher 1935); p counts the case itself, so that it is never 0. All int64 [N].
    """
    labels, counts = np.unique(truth, return_counts=True)
    weight = 1.0 / (len(labels) * counts[np.searchsorted(labels, truth)])
    steps = weight * ((after == truth).astype(float) - (before == truth))
    steps = steps[steps != 0]
    random, least = np.random.default_rng(seed), abs(steps.sum()) - 1e-12
    extreme = np.array([abs(random.choice((-1.0, 1.0), len(steps)) @ steps) >= least for _ in range(SWAPS)])
    return float((1 + extreme.sum()) / (1 + SWAPS))


def difference(before: Interval, after: Interval) -> tuple[Interval, float]:
    """Difference of two figures of independent samples, with its interval and p, from their intervals.

    The interval is recovered from both (Zou and Donner 2008; for proportions Newcombe 1998, method 10); p takes its
    half width on the side of zero for 1.96 standard errors. Intervals without a width are no evidence: p is 1.
    """
    change = after.value - before.value
    if None in (before.low, before.high, after.low, after.high):
        return Interval(value=change), 1.0
    below = math.hypot(after.value - float(after.low or 0), float(before.high or 0) - before.value)
    above = math.hypot(float(after.high or 0) - after.value, before.value - float(before.low or 0))
    half = below if change > 0 else above
    p = 1.0 if not change or not half else math.erfc(Z * abs(change) / half / math.sqrt(2))
    return Interval(value=change, low=change - below, high=change + above), p


def ratio_of_medians(
    before: Sequence[float], after: Sequence[float], floor: float, seed: int = 0
) -> tuple[Interval, float]:
    """Ratio of the medians of raw times, ``after`` over ``before``, with its interval and p.

    Both are in the order they were measured and above 0. p is two-sided, of a change by no more than ``floor`` (0.02
    for 2 %), from the standard error of the logarithm.
    """
    rng = np.random.default_rng(seed)
    value = math.log(float(np.median(after)) / float(np.median(before)))
    error = math.hypot(*(_error_of_log_median(np.asarray(times, np.float64), rng) for times in (before, after)))
    low, high = math.exp(value - Z * error), math.exp(value + Z * error)
    beyond = abs(value) - math.log1p(floor)
    p = 1.0 if beyond <= 0 else math.erfc(beyond / error / math.sqrt(2)) if error else 0.0
    return Interval(value=math.exp(value), low=low, high=high), p


def beyond_noise(ps: Sequence[float]) -> list[bool]:
    """Return True for each p that is a change, all of them together wrong with a chance of `ALPHA` (Holm 1979)."""
    changed, order = [False] * len(ps), sorted(range(len(ps)), key=lambda index: ps[index])
    for rank, index in enumerate(order):
        if ps[index] > ALPHA / (len(ps) - rank):
            break
        changed[index] = True
    return changed


def _error_of_log_median(times: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Return the standard error of the logarithm of a median: bootstrap, widened as neighbouring times are alike.

    As many times as a first-order autoregression leaves independent, n (1 - r) / (1 + r), carry the error (Bayley and
    Hammersley 1946); r of the ranks, so that single slow rounds do not hide it, with Kendall's correction for short
    series (1954).
    """
    count = len(times)
    medians = np.median(times[rng.integers(0, count, (RESAMPLES, count))], axis=1)
    ranks = times.argsort().argsort() - (count - 1) / 2
    alike = float(ranks[1:] @ ranks[:-1] / (ranks @ ranks))
    alike = min(max(alike + (1 + 3 * alike) / count, 0.0), LARGEST_LIKENESS)
    return float(np.log(medians).std()) * math.sqrt((1 + alike) / (1 - alike))
