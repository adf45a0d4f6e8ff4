"""Filters of evenly sampled signals: even sampling itself, detrending, limits of frequency."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LOWEST_HZ, HIGHEST_HZ = 0.7, 4.0
"""Band of the pulse: 42 to 240 beats a minute."""
TREND_HZ = 0.4
"""Frequency at which detrending leaves half of a signal's amplitude."""


def resampled_evenly(values: FloatArray, times: FloatArray, fps: float) -> FloatArray:
    """Return values [N, ...] at even steps of 1/fps from the first time on, by linear interpolation."""
    even = times[0] + np.arange(len(times)) / fps
    columns = values.reshape(len(values), -1)
    return np.stack([np.interp(even, times, column) for column in columns.T], axis=1).reshape(values.shape)


def detrended(signal: FloatArray, fps: float) -> FloatArray:
    """Return a signal [N] or signals [N, K] without their slow trend.

    Smoothness priors: the trend minimises its distance to the signal plus ``smoothness`` squared times its curvature
    (Tarvainen, Ranta-aho and Karjalainen, "An advanced detrending method with application to HRV analysis", IEEE TBME
    49, 2002). The smoothness follows from `TREND_HZ`, so that every frame rate loses the same frequencies.
    """
    columns = signal.reshape(len(signal), -1)
    trends = [_trend(column.tolist(), smoothness(fps)) for column in columns.T]
    return np.asarray(signal - np.array(trends).T.reshape(signal.shape))


def smoothness(fps: float) -> float:
    """Return the weight of curvature whose detrending halves amplitudes at `TREND_HZ`."""
    return float((2 * np.sin(np.pi * TREND_HZ / fps)) ** -2)


def _trend(values: list[float], weight: float) -> list[float]:
    """Solve (I + weight² D'D) x = values, D the second difference, in time and memory that grow with its length."""
    pivots, first, second = _factors(len(values), weight)
    forward: list[float] = []
    for row, value in enumerate(values):
        if row:
            value -= first[row - 1] * forward[row - 1]
        if row > 1:
            value -= second[row - 2] * forward[row - 2]
        forward.append(value)
    trend = [value / pivot for value, pivot in zip(forward, pivots, strict=True)]
    for row in range(len(trend) - 2, -1, -1):
        trend[row] -= first[row] * trend[row + 1]
        if row + 2 < len(trend):
            trend[row] -= second[row] * trend[row + 2]
    return trend


@lru_cache(maxsize=8)
def _factors(count: int, weight: float) -> tuple[list[float], list[float], list[float]]:
    """Return the pivots of the band matrix and the two diagonals below the ones of its triangle (LDL')."""
    stencil = np.array([1.0, -2.0, 1.0]) * weight
    diagonal, near, far = np.ones(count), np.zeros(count), np.zeros(count)
    for offset in range(3):
        diagonal[offset : count - 2 + offset] += stencil[offset] ** 2
    near[: count - 2] += stencil[0] * stencil[1]
    near[1 : count - 1] += stencil[1] * stencil[2]
    far[: count - 2] += stencil[0] * stencil[2]
    pivots, first, second = [0.0] * count, [0.0] * count, [0.0] * count
    for row in range(count):
        pivots[row] = float(diagonal[row])
        if row:
            pivots[row] -= first[row - 1] ** 2 * pivots[row - 1]
        if row > 1:
            pivots[row] -= second[row - 2] ** 2 * pivots[row - 2]
        coupled = second[row - 1] * pivots[row - 1] * first[row - 1] if row else 0.0
        first[row] = (float(near[row]) - coupled) / pivots[row]
        second[row] = float(far[row]) / pivots[row]
    return pivots, first, second


def smoothed(signals: FloatArray, fps: float) -> FloatArray:
    """Return detrended signals [N, K] without the frequencies above the pulse's band."""
    spectrum = np.fft.rfft(signals, axis=0)
    spectrum[np.fft.rfftfreq(len(signals), 1 / fps) > HIGHEST_HZ] = 0
    return np.asarray(np.fft.irfft(spectrum, len(signals), axis=0))
