"""Heart rates against true ones: MAE, RMSE, r, SNR and coverage, with intervals over subjects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_edge.metrics.by_subject import Figure, figure_of_samples
from emo_edge.metrics.value_agreement import (
    mean_error_of_sums,
    pair_sums,
    pearson_of_sums,
    squared_error_of_sums,
)

FloatArray = NDArray[np.float64]
LEAST_PAIRS = 3
"""Pairs of rates below which a correlation says nothing."""


def heart_rate_figures(
    truth: ArrayLike, measured: ArrayLike, snr_db: ArrayLike, subjects: Sequence[str]
) -> dict[str, Figure]:
    """Return ``mae``, ``rmse`` (beats a minute), ``r``, ``snr_db`` and ``coverage`` of windows, each with its interval.

    Args:
        truth: beats a minute of each window, [N], every one known.
        measured: likewise; NaN for a window that was refused: it counts for the coverage, and for no error.
        snr_db: likewise, around the measured rate; NaN where none was computed.
        subjects: person of each window.
    """
    true, rates, ratios = (np.asarray(values, np.float64) for values in (truth, measured, snr_db))
    figures: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "mae": lambda rows: mean_error_of_sums(pair_sums(true[rows], rates[rows])),
        "rmse": lambda rows: squared_error_of_sums(pair_sums(true[rows], rates[rows])),
        "r": lambda rows: _correlation(true[rows], rates[rows]),
        "snr_db": lambda rows: _mean(ratios[rows]),
        "coverage": lambda rows: _mean((~np.isnan(rates[rows])).astype(np.float64)),
    }
    return {name: figure_of_samples(figure, subjects) for name, figure in figures.items()}


def _correlation(truth: FloatArray, measured: FloatArray) -> float:
    sums = pair_sums(truth, measured)
    return pearson_of_sums(sums) if sums[0] >= LEAST_PAIRS else math.nan


def _mean(values: FloatArray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
