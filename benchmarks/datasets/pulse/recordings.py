"""Videos of faces and the true rate of their pulse in any stretch of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.inference.signals.filters import detrended, resampled_evenly
from emo_edge.inference.signals.spectrum import spectral_peak
from emo_edge.media.videos import TimedFrame

FloatArray = NDArray[np.float64]
LARGEST_GAP_S = 1.0
"""Between two samples of a wave, or between its ends and those of a window; a longer one leaves the truth unknown."""


@dataclass(frozen=True)
class PulseRecording:
    """One video."""

    key: str
    subject: str
    frames: Callable[[], Iterable[TimedFrame]]
    """Reads the video from its beginning, each time."""
    truth: Callable[[float, float], float | None]
    """Returns the true beats a minute between two times in seconds since the first frame; None where unknown."""


@dataclass(frozen=True)
class PulseDataset:
    """A data set of pulses."""

    name: str
    recordings: tuple[PulseRecording, ...]
    synthetic: bool
    """True for drawings."""
    source: str
    """Origin of the true rates, in words."""


@dataclass(frozen=True)
class Wave:
    """The pulse wave of an oximeter."""

    times: FloatArray
    """Seconds since the first frame of the video, [N], ascending."""
    values: FloatArray
    """[N], in any unit."""

    def bpm(self, start_s: float, end_s: float) -> float | None:
        """Return the rate between two times: the highest peak of the detrended wave's spectrum, 42 to 240 beats.

        None where the wave has a gap there, or does not change.
        """
        inside = (self.times >= start_s) & (self.times < end_s)
        times, values = self.times[inside], self.values[inside]
        edges = np.concatenate([[start_s], times, [end_s]])
        if (
            len(times) < 3
            or np.diff(edges).max() > LARGEST_GAP_S
            or not np.isfinite(values).all()
            or not np.ptp(values)
        ):
            return None
        fps = (len(times) - 1) / float(times[-1] - times[0])
        even = detrended(resampled_evenly(values, times, fps), fps)
        return spectral_peak(even, fps).bpm


def ascending(times: FloatArray, values: FloatArray) -> Wave:
    """Return a wave without the samples whose time does not come after all before it."""
    latest = np.maximum.accumulate(times)
    kept = np.concatenate([[True], times[1:] > latest[:-1]])
    return Wave(times[kept], values[kept])
