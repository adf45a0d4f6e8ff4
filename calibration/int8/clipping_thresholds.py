"""From a histogram of magnitudes to the largest one that INT8 keeps: what lies above is clipped to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emo_edge.calibration.int8.histogram import MagnitudeHistogram
from emo_edge.errors import InputError

LEVELS = 127
"""Positive steps of a symmetric INT8; -128 is not used."""
PERCENTILE = 99.99
ENTROPY_BINS = 2048
ENTROPY_LEVELS = 128
CANDIDATES = 256
TINY = 1e-12
SMALLEST = float(np.finfo(np.float32).tiny)
"""A step of a smaller range is no float32."""


def threshold(histogram: MagnitudeHistogram, method: str) -> float:
    """Return the threshold of one of `METHODS`; 0 if every value was, or next to it.

    Raises InputError for an unknown method or a histogram that counted nothing.
    """
    if method not in METHODS:
        raise InputError(f"{method!r} is not a calibration method; choose one of {', '.join(METHODS)}")
    if not histogram.total:
        raise InputError("no activation was counted: gather ranges from samples first")
    return METHODS[method](histogram) if histogram.peak >= SMALLEST else 0.0


def max_threshold(histogram: MagnitudeHistogram) -> float:
    """Return the largest magnitude: nothing is clipped."""
    return histogram.peak


def percentile_threshold(histogram: MagnitudeHistogram, percentile: float = PERCENTILE) -> float:
    """Return the magnitude that ``percentile`` per cent of the values do not exceed, rounded up by less than a bin."""
    reached = np.cumsum(histogram.counts)
    index = int(np.searchsorted(reached, reached[-1] * (percentile / 100)))
    return min((index + 1) * histogram.width, histogram.peak)


def mse_threshold(histogram: MagnitudeHistogram) -> float:
    """Return the threshold with the least mean squared error of rounding and clipping to `LEVELS` steps.

    The error is that of the bins' centres, for `CANDIDATES` equal shares of the largest value.
    """
    used = _used(histogram.counts)
    counts, centres = histogram.counts[:used], (np.arange(used, dtype=np.float64) + 0.5) * histogram.width
    candidates = np.linspace(histogram.peak / CANDIDATES, histogram.peak, CANDIDATES)
    errors = [float(counts @ _squared_error(centres, candidate)) for candidate in candidates]
    return float(candidates[int(np.argmin(errors))])


def entropy_threshold(histogram: MagnitudeHistogram) -> float:
    """Return the threshold whose quantized histogram loses the least information, by KL divergence.

    The reference is the histogram with its tail added to the last bin, the candidate the same bins in
    `ENTROPY_LEVELS` levels (S. Migacz, "8-bit Inference with TensorRT", GTC 2017).
    """
    counts = histogram.counts.reshape(ENTROPY_BINS, -1).sum(1)
    used = _used(counts)
    ends = np.unique(np.linspace(min(ENTROPY_LEVELS, used), used, CANDIDATES).astype(int))
    losses = [_lost_information(counts[:used], int(end)) for end in ends]
    width = histogram.width * (histogram.counts.size // ENTROPY_BINS)
    return min(float(ends[int(np.argmin(losses))]) * width, histogram.peak)


METHODS: dict[str, Callable[[MagnitudeHistogram], float]] = {
    "max": max_threshold,
    "percentile": percentile_threshold,
    "entropy": entropy_threshold,
    "mse": mse_threshold,
}


def _used(counts: NDArray[np.int64]) -> int:
    return int(np.flatnonzero(counts)[-1]) + 1


def _squared_error(values: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    step = limit / LEVELS
    error: NDArray[np.float64] = (values - np.minimum(np.round(values / step), LEVELS) * step) ** 2
    return error


def _lost_information(counts: NDArray[np.int64], end: int) -> float:
    reference = counts[:end].astype(np.float64)
    starts = np.arange(ENTROPY_LEVELS) * end // ENTROPY_LEVELS
    if end < ENTROPY_LEVELS:
        starts = np.unique(starts)
    sums = np.add.reduceat(reference, starts)
    reference[-1] += counts[end:].sum()
    filled = reference > 0
    mean_count = sums / np.maximum(np.add.reduceat(filled.astype(np.float64), starts), 1)
    candidate = np.where(filled, np.repeat(mean_count, np.diff(starts, append=end)), 0)
    p = reference[filled] / reference.sum()
    q = np.maximum(candidate[filled] / max(candidate.sum(), TINY), TINY)
    return float(p @ np.log(p / q))
