"""The heartbeat in the colour of the skin: its shape over time and its size in each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
CHANNELS = np.array([0.33, 0.77, 0.53]) / 0.77
"""Relative strength of the pulse in red, green and blue, as fractions of each channel's own level, green is 1: the
blood volume vector of de Haan and Jeanne, "Robust pulse rate from chrominance-based rPPG", IEEE TBME 60 (2013)."""
SLOWEST_BPM, FASTEST_BPM = 48.0, 150.0
STRENGTHS = (0.004, 0.01)
"""Range of the amplitude in green, as a fraction of its level."""
OVERTONES = (0.15, 0.4)
"""Range of the second harmonic's amplitude, as a fraction of the first one's."""
BREATHS_HZ = (0.15, 0.35)
ARRHYTHMIA = 0.015
"""Largest deviation of the rate in time with the breath, as a fraction of the rate."""


@dataclass(frozen=True)
class Heartbeat:
    """One person's pulse."""

    bpm: float
    strength: float
    """Amplitude in green, as a fraction of its level; 0 is no pulse at all."""
    overtone: float = 0.25
    phase: float = 0.0
    breath_hz: float = 0.25
    arrhythmia: float = 0.0

    def wave(self, times: FloatArray) -> FloatArray:
        """Return the pulse wave [N] at ``times`` in seconds, its first harmonic between -1 and 1."""
        return np.asarray(np.sin(self._radians(times)) + self.overtone * np.sin(2 * self._radians(times) + 0.8))

    def gains(self, times: FloatArray) -> FloatArray:
        """Return the factors [N, 3] of the skin's red, green and blue: more blood absorbs more light."""
        return np.asarray(1.0 - self.strength * self.wave(times)[:, None] * CHANNELS)

    def mean_bpm(self, start_s: float, end_s: float) -> float:
        """Return the mean rate between two times."""
        first, last = self._radians(np.array([start_s, end_s]))
        return float((last - first) / (2 * np.pi) / (end_s - start_s) * 60)

    def _radians(self, times: FloatArray) -> FloatArray:
        hertz, breath = self.bpm / 60, 2 * np.pi * self.breath_hz
        swing = self.arrhythmia / breath * np.sin(breath * np.asarray(times))
        return np.asarray(2 * np.pi * hertz * (np.asarray(times) + swing) + self.phase)


def sample_heartbeat(rng: np.random.Generator) -> Heartbeat:
    """Draw a heartbeat: rate, strength and shape."""
    return Heartbeat(
        bpm=float(rng.uniform(SLOWEST_BPM, FASTEST_BPM)),
        strength=float(rng.uniform(*STRENGTHS)),
        overtone=float(rng.uniform(*OVERTONES)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        breath_hz=float(rng.uniform(*BREATHS_HZ)),
        arrhythmia=float(rng.uniform(0, ARRHYTHMIA)),
    )
