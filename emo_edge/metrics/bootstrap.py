"""The bootstrap: a figure over resampled samples, and its percentile interval (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SEED, RESAMPLES = 0, 1000
ENDS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""


def resampled(
    figure: Callable[[NDArray[np.int64]], float], count: int, seed: int = SEED, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Compute ``figure`` of the indices of ``count`` samples drawn with replacement, once per draw; one is held."""
    random = np.random.default_rng(seed)
    return np.array([figure(random.integers(0, count, count)) for _ in range(resamples)])


def percentile_interval(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values."""
    low, high = np.percentile(values, ENDS)
    return float(low), float(high)
