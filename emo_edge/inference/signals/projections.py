"""From colours to a pulse signal: POS, CHROM and the green channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from emo_edge.errors import InputError
from emo_edge.inference.signals.filters import FloatArray, detrended, smoothed
from emo_edge.utils.suggestions import did_you_mean

Method = Literal["pos", "chrom", "green"]
METHODS: tuple[Method, ...] = get_args(Method)
WINDOW_S = 1.6
"""Length of the windows in which colours are normalised: one beat at least."""


def pulse_signal(trace: ArrayLike, fps: float, method: str = "pos") -> FloatArray:
    """Return the pulse signal [N] of a skin's colours, without a trend; its scale has no unit.

    Args:
        trace: red, green and blue [N, 3] in any one unit, evenly sampled; for "green" also one channel [N].
        fps: samples a second.
        method: "pos", "chrom" or "green".

    Raises InputError for another method, for a trace of another shape, that is shorter than `WINDOW_S`, not finite or
    without light.
    """
    values = np.asarray(trace, np.float64)
    checked_method(method)
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps is a positive number of samples a second, not {fps}")
    if values.ndim == 1 and method == "green":
        pass
    elif values.ndim != 2 or values.shape[1] != 3:
        raise InputError(f"{method} needs red, green and blue [N, 3], not {list(values.shape)}")
    if len(values) < max(_window_length(fps), 3) or not np.isfinite(values).all():
        raise InputError(f"a trace holds at least {WINDOW_S} s of finite colours")
    if values.ndim == 2 and not (values > 0).all():
        raise InputError("a trace holds colours above 0")
    return detrended(_PROJECTIONS[method](values, fps), fps)


def checked_method(method: str) -> None:
    """Raise InputError for a method that is none, with the names there are."""
    if method not in METHODS:
        raise InputError(f"no `method` {method!r}; choose from {', '.join(METHODS)}{did_you_mean(method, METHODS)}")


def _pos(colours: FloatArray, fps: float) -> FloatArray:
    """Project onto the plane orthogonal to the skin tone.

    Wang, den Brinker, Stuijk and de Haan, "Algorithmic principles of remote PPG", IEEE TBME 64 (2017), algorithm 1:
    each window of 1.6 s is divided by its mean colour, projected on two axes, of which the second is scaled to the
    deviation of the first; the windows overlap by all samples but one and are added.
    """
    length = _window_length(fps)
    windows = sliding_window_view(colours, length, axis=0)
    normal = windows / windows.mean(axis=-1, keepdims=True)
    first = normal[:, 1] - normal[:, 2]
    second = normal[:, 1] + normal[:, 2] - 2 * normal[:, 0]
    pulses = first + _ratio(first, second) * second
    return _overlapped(pulses - pulses.mean(axis=-1, keepdims=True), len(colours), step=1)


def _chrom(colours: FloatArray, fps: float) -> FloatArray:
    """Combine two chrominance signals so that white light and gloss cancel.

    De Haan and Jeanne, "Robust pulse rate from chrominance-based rPPG", IEEE TBME 60 (2013): X = 3R - 2G and
    Y = 1.5R + G - 1.5B of colours divided by their mean; the pulse is X - Y * std(X) / std(Y) in Hann windows of 1.6 s
    that overlap by a half. Colours are divided by a moving mean of 1.6 s; what is below and above the pulse's band is
    removed before the windows are cut, because 48 samples would not resolve it.
    """
    length = _window_length(fps)
    normal = colours / _moving_mean(colours, length)
    red, green, blue = normal.T
    pair = np.stack([3 * red - 2 * green, 1.5 * red + green - 1.5 * blue], axis=1)
    step = max(length // 2, 1)
    padded = np.pad(smoothed(detrended(pair, fps), fps), ((step, step + length), (0, 0)))
    windows = sliding_window_view(padded, length, axis=0)[::step]
    x, y = windows[:, 0], windows[:, 1]
    hann = np.hanning(length + 1)[:length]
    summed = _overlapped((x - _ratio(x, y) * y) * hann, (len(windows) - 1) * step + length, step)
    return summed[step : step + len(colours)]


def _green(colours: FloatArray, fps: float) -> FloatArray:
    """Return the green channel, where blood absorbs most (Verkruysse, Svaasand and Nelson, Optics Express 16, 2008)."""
    return colours if colours.ndim == 1 else np.asarray(colours[:, 1] / colours[:, 1].mean() - 1)


_PROJECTIONS: dict[str, Callable[[FloatArray, float], FloatArray]] = {"pos": _pos, "chrom": _chrom, "green": _green}


def _window_length(fps: float) -> int:
    return math.ceil(round(WINDOW_S * fps, 6))


def _ratio(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the deviations of windows [W, L] over those of others [W, 1]; 0 where the others are constant."""
    upper, lower = first.std(axis=-1, keepdims=True), second.std(axis=-1, keepdims=True)
    return np.asarray(np.divide(upper, lower, out=np.zeros_like(upper), where=lower > 0))


def _overlapped(windows: FloatArray, count: int, step: int) -> FloatArray:
    """Return the sum [count] of windows [W, L] that begin ``step`` samples after each other."""
    places = np.arange(len(windows))[:, None] * step + np.arange(windows.shape[1])
    return np.asarray(np.bincount(places.ravel(), windows.ravel(), count), np.float64)


def _moving_mean(values: FloatArray, length: int) -> FloatArray:
    """Return centred means [N, K] over ``length`` samples, over fewer at both ends."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    rows = np.arange(len(values))
    first = np.maximum(rows - length // 2, 0)
    last = np.minimum(rows - length // 2 + length, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first)[:, None])
