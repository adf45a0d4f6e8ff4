"""Reasons why a trace of skin colours has no reliable pulse. Each is one sentence that names the number behind it."""

from __future__ import annotations

import numpy as np

from emo_edge.inference.signals.filters import FloatArray
from emo_edge.inference.signals.traces import SkinTrace

LEAST_SECONDS = 8.0
LEAST_FPS = 15.0
LARGEST_GAP_S = 0.2
MOST_LOST = 0.2
"""Fraction of a window's frames without the face."""
LEAST_SNR_DB = 1.0
"""Chosen on drawn clips with nuisances by the benchmarks' study `pulse`, which measures on another seed. At 0 dB none
of those without a pulse had a number, but one with a pulse had the wrong one."""
LARGEST_STEP = 0.06
"""Of the logarithm of red over green, or of blue over green, from one sixth of a second to the next. The largest one of
drawn clips with nuisances is about half of it."""
STEP_S = 1 / 6
ROUNDING = 1e-6
EQUAL = 1e-9
"""Relative difference below which floating-point values are the same."""


def sampling_refusal(times: FloatArray, fps: float, seconds: float) -> str | None:
    """Return the reason why time stamps cannot carry a pulse, or None."""
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        return "the time stamps do not ascend"
    if seconds < LEAST_SECONDS - ROUNDING:
        return f"{seconds:.1f} s are too short: at least {LEAST_SECONDS:.0f} s are needed"
    if fps < LEAST_FPS - ROUNDING:
        return f"{fps:.1f} frames a second are too few: at least {LEAST_FPS:.0f} are needed"
    gap = float(np.diff(times).max())
    if gap > LARGEST_GAP_S + ROUNDING:
        return f"{gap:.2f} s without a frame: at most {LARGEST_GAP_S} s are allowed"
    return None


def refusal(trace: SkinTrace, fps: float) -> str | None:
    """Return the reason why colours cannot carry a pulse, or None; their time stamps can."""
    lost = float(trace.lost.mean())
    if lost > MOST_LOST + EQUAL:
        return f"the face is lost in {lost:.0%} of the frames: at most {MOST_LOST:.0%} are allowed"
    colours = trace.colours[~trace.lost]
    if not np.isfinite(colours).all():
        return "a colour is not a finite number"
    if trace.unsure.any():
        return "another face came so near that the two may have changed places"
    if (np.ptp(colours, axis=0) <= EQUAL * np.abs(colours).max(axis=0)).all():
        return "the colour does not change at all"
    return _colour_refusal(colours, fps) if colours.ndim == 2 else None


def snr_refusal(snr_db: float) -> str | None:
    """Return the reason why a spectrum's peak is no pulse, or None."""
    if snr_db < LEAST_SNR_DB:
        return f"the spectrum has no clear peak: SNR {snr_db:.1f} dB, at least {LEAST_SNR_DB:.1f} dB are needed"
    return None


def _colour_refusal(colours: FloatArray, fps: float) -> str | None:
    if (colours <= 0).any():
        return "a colour is black: there is no light"
    if _is_grey(colours):
        return "the pictures are grey: a pulse is a change of colour"
    step = largest_colour_step(colours, fps)
    if step > LARGEST_STEP:
        return f"the skin's colour jumps by {step:.0%}: another face, or a cut"
    return None


def _is_grey(colours: FloatArray) -> bool:
    """Return True where red, green and blue go the same way, each relative to its own mean."""
    normal = colours / colours.mean(axis=0)
    return bool(np.ptp(normal, axis=1).max() <= EQUAL)


def largest_colour_step(colours: FloatArray, fps: float) -> float:
    """Return the largest step of red over green, or blue over green, between medians of a sixth of a second each."""
    tints = np.log(colours[:, [0, 2]] / colours[:, 1:2])
    length = max(round(STEP_S * fps), 1)
    windows = np.median(np.lib.stride_tricks.sliding_window_view(tints, length, axis=0), axis=-1)
    return float(np.abs(windows[length:] - windows[:-length]).max(initial=0.0))
