"""The rate of a pulse signal: the peak of its spectrum, and how far it stands out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.inference.signals.filters import HIGHEST_HZ, LOWEST_HZ, FloatArray

AROUND_HZ = 0.1
"""Half the width around the rate and its double that counts as pulse: 6 beats a minute."""
PADDING = 16
"""Times that the spectrum is finer than that of the samples alone."""
LARGEST_SNR_DB = 60.0
"""Of a signal without noise, so that the figure stays finite."""


@dataclass(frozen=True)
class SpectralPeak:
    """The highest peak inside the pulse's band."""

    bpm: float
    """Interpolated, in beats a minute."""
    bin_bpm: float
    """Middle of the bin of the unpadded spectrum that holds it."""
    snr_db: float
    """Power around the rate and its double over all other power of the band (de Haan and Jeanne, 2013)."""


def spectral_peak(signal: FloatArray, fps: float) -> SpectralPeak:
    """Return the peak of a detrended signal [N] between `LOWEST_HZ` and `HIGHEST_HZ`; a signal of zeros has SNR -60."""
    windowed = (signal - signal.mean()) * np.hanning(len(signal) + 1)[:-1]
    count = PADDING * len(signal)
    power = np.abs(np.fft.rfft(windowed, count)) ** 2
    hertz = np.asarray(np.fft.rfftfreq(count, 1 / fps), np.float64)
    top = _highest_peak(power, np.flatnonzero((hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ)))
    rate = (top + _vertex(power, top)) * fps / count
    return SpectralPeak(
        rate * 60, _bin(power[::PADDING], top / PADDING) * fps / len(signal) * 60, _snr(power, hertz, rate)
    )


def _highest_peak(power: FloatArray, band: NDArray[np.intp]) -> int:
    """Return the highest local maximum of a band; its highest sample where it has none.

    The skirt of something below or above the band is no maximum inside it.
    """
    before, after = power[np.maximum(band - 1, 0)], power[np.minimum(band + 1, len(power) - 1)]
    peaks = band[(power[band] > before) & (power[band] >= after)]
    candidates = peaks if len(peaks) else band
    return int(candidates[power[candidates].argmax()])


def _vertex(power: FloatArray, top: int) -> float:
    """Return the offset of the parabola's vertex through the logarithms of three samples, -0.5 to 0.5."""
    if not 0 < top < len(power) - 1 or power[top - 1 : top + 2].min() <= 0:
        return 0.0
    left, middle, right = np.log(power[top - 1 : top + 2])
    curvature = left - 2 * middle + right
    return float(np.clip((left - right) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0


def _bin(power: FloatArray, spot: float) -> int:
    """Return the higher of the two bins next to a peak."""
    lower = int(spot)
    upper = min(lower + 1, len(power) - 1)
    if spot == lower:
        return lower
    return lower if power[lower] >= power[upper] else upper


def _snr(power: FloatArray, hertz: FloatArray, rate: float) -> float:
    band = (hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ)
    near = (np.abs(hertz - rate) <= AROUND_HZ) | (np.abs(hertz - 2 * rate) <= AROUND_HZ)
    pulse, rest = float(power[band & near].sum()), float(power[band & ~near].sum())
    if pulse <= 0:
        return -LARGEST_SNR_DB
    if rest <= pulse * 10 ** (-LARGEST_SNR_DB / 10):
        return LARGEST_SNR_DB
    return max(float(10 * np.log10(pulse / rest)), -LARGEST_SNR_DB)
