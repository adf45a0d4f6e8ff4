"""The heart rate of a face from the colour of its skin, or the reason why there is none. Not a medical device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emo_edge.errors import InputError
from emo_edge.inference.signals.filters import FloatArray, resampled_evenly
from emo_edge.inference.signals.projections import checked_method, pulse_signal
from emo_edge.inference.signals.refusals import (
    LEAST_FPS,
    LEAST_SECONDS,
    ROUNDING,
    refusal,
    sampling_refusal,
    snr_refusal,
)
from emo_edge.inference.signals.spectrum import SpectralPeak, spectral_peak
from emo_edge.inference.signals.traces import SkinTrace

__all__ = ["LEAST_FPS", "LEAST_SECONDS", "NOTICE", "HeartRate", "PulseWindow", "heart_rate", "heart_rates"]

NOTICE = "Not a medical device."
WINDOW_S, STEP_S = 10.0, 1.0
DIGITS = 6
"""Of a frame rate that is computed from time stamps: 30 frames a second stay 30."""


@dataclass(frozen=True)
class HeartRate:
    """The heart rate of one stretch of time; without a number where it is not reliable. Not a medical device."""

    bpm: float | None
    """Beats a minute, interpolated between the bins of the spectrum."""
    bin_bpm: float | None
    """The middle of the bin of the plain Fourier transform that holds the peak."""
    snr_db: float | None
    """Power around the rate and its double over the rest of the pulse's band; None where none was computed."""
    reliable: bool
    reason: str | None
    """One sentence where it is not reliable, else None."""
    seconds: float
    """Length of what was measured."""
    fps: float
    """Frames a second, from the time stamps; 0 for fewer than two."""
    method: str
    """"pos", "chrom" or "green"."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; every number is finite."""
        return asdict(self)

    def __str__(self) -> str:
        if self.bpm is None:
            return f"no reliable pulse: {self.reason}"
        return f"{self.bpm:.2f} BPM (SNR {self.snr_db:.1f} dB). {NOTICE}"


@dataclass(frozen=True)
class PulseWindow:
    """The heart rate of one face in one window of time."""

    face: int
    """Counts the faces of a source from 0."""
    start_s: float
    end_s: float
    heart_rate: HeartRate

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, those of the heart rate among them."""
        return {"face": self.face, "start_s": self.start_s, "end_s": self.end_s, **self.heart_rate.as_dict()}


def heart_rate(
    trace: SkinTrace | ArrayLike, fps: float | None = None, *, times: ArrayLike | None = None, method: str = "pos"
) -> HeartRate:
    """Return the heart rate of a face's skin, or the reason why none can be given.

    The colours are sampled evenly by their time stamps, projected by ``method``, detrended; the rate is the peak of the
    spectrum between 42 and 240 beats a minute.

    Args:
        trace: what `skin_trace` returns; or red, green and blue [N, 3], or for "green" one channel [N].
        fps: samples a second of such an array, where they are even.
        times: or the seconds of its samples.
        method: "pos" (Wang et al. 2017), "chrom" (de Haan and Jeanne 2013) or "green" (Verkruysse et al. 2008).

    Raises InputError for another method and for arrays that are no trace. A trace that shows no pulse is no error: the
    result is not reliable and has a reason. Not a medical device.
    """
    checked_method(method)
    given = trace if isinstance(trace, SkinTrace) else _given(np.asarray(trace, np.float64), fps, times, method)
    rate = _rate(given.times)
    seconds = len(given.times) / rate if rate else 0.0
    reason = sampling_refusal(given.times, rate, seconds) or refusal(given, rate)
    if reason:
        return HeartRate(None, None, None, False, reason, seconds, rate, method)
    peak = pulse_peak(given, method)
    reason = snr_refusal(peak.snr_db)
    if reason:
        return HeartRate(None, None, peak.snr_db, False, reason, seconds, rate, method)
    return HeartRate(peak.bpm, peak.bin_bpm, peak.snr_db, True, None, seconds, rate, method)


def pulse_peak(trace: SkinTrace, method: str = "pos") -> SpectralPeak:
    """Return the highest peak of a trace's pulse signal, which may be no pulse: `heart_rate` judges it.

    Raises InputError for a trace that `heart_rate` refuses before it gets here.
    """
    rate = _rate(trace.times)
    return spectral_peak(pulse_signal(resampled_evenly(_without_gaps(trace), trace.times, rate), rate, method), rate)


def heart_rates(trace: SkinTrace, *, method: str = "pos", face: int = 0) -> Iterator[PulseWindow]:
    """Yield the heart rate of each window of 10 s, a second after each other; of a shorter trace that of the whole."""
    checked_method(method)
    if not len(trace.times):
        return
    rate = _rate(trace.times)
    if not rate:
        yield PulseWindow(face, 0.0, 0.0, heart_rate(trace, method=method))
        return
    first, end = float(trace.times[0]), float(trace.times[-1]) + 1 / rate
    rest = end - first - WINDOW_S
    starts = [first + STEP_S * row for row in range(int(rest / STEP_S + 1 + ROUNDING))] if rest > -ROUNDING else [first]
    for start in starts:
        stop = min(start + WINDOW_S, end)
        # Half a frame before: time stamps round.
        part = trace.part(start - 0.5 / rate, stop - 0.5 / rate)
        yield PulseWindow(face, start, stop, heart_rate(part, method=method))


def _given(values: FloatArray, fps: float | None, times: ArrayLike | None, method: str) -> SkinTrace:
    """Return arrays of the caller as a trace without a lost frame."""
    if not (values.ndim == 1 and method == "green") and (values.ndim != 2 or values.shape[1] != 3):
        raise InputError(f"{method} needs red, green and blue [N, 3], not {list(values.shape)}")
    if (fps is None) == (times is None):
        raise InputError("give the samples a second as fps, or their seconds as times, and not both")
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps is a positive number of samples a second, not {fps}")
    stamps = np.arange(len(values)) / fps if fps is not None else np.asarray(times, np.float64)
    if stamps.shape != (len(values),):
        raise InputError(f"{len(values)} samples need as many times, not {list(stamps.shape)}")
    none = np.zeros(len(values), bool)
    return SkinTrace(values, stamps, none, none)


def _rate(times: FloatArray) -> float:
    """Return the frames a second of time stamps; 0 for fewer than two and for stamps that are no line of time."""
    span = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    return round((len(times) - 1) / span, DIGITS) if np.isfinite(span) and span > 0 else 0.0


def _without_gaps(trace: SkinTrace) -> FloatArray:
    """Return the colours, those of lost frames on the line between their neighbours."""
    if not trace.lost.any():
        return trace.colours
    there = ~trace.lost
    return np.stack([np.interp(trace.times, trace.times[there], column[there]) for column in trace.colours.T], axis=1)
