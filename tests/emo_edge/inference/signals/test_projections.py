"""Filters and projections against NumPy written from the papers."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.inference.signals.filters import detrended, resampled_evenly, smoothed, smoothness
from emo_edge.inference.signals.projections import METHODS, pulse_signal

FPS = 20.0
COLOURS = np.array([150.0, 110.0, 90.0]) * (1 + 0.02 * np.random.default_rng(3).standard_normal((80, 3)))


@pytest.mark.parametrize("count", [3, 4, 60])
def test_detrending_solves_the_smoothness_priors(count: int) -> None:
    signal = np.random.default_rng(count).standard_normal((count, 2))
    second = np.diff(np.eye(count), n=2, axis=0)
    trend = np.linalg.solve(np.eye(count) + smoothness(FPS) ** 2 * second.T @ second, signal)
    np.testing.assert_allclose(detrended(signal, FPS), signal - trend, atol=1e-10)
    np.testing.assert_allclose(detrended(signal[:, 0], FPS), (signal - trend)[:, 0], atol=1e-10)


def test_detrending_removes_lines_and_leaves_the_band() -> None:
    times = np.arange(300) / FPS
    np.testing.assert_allclose(detrended(3 + 0.2 * times, FPS), 0, atol=1e-9)
    middle = slice(60, 240)
    for hertz, low, high in ((0.1, 0, 0.01), (0.4, 0.49, 0.51), (0.75, 0.9, 1), (2.0, 0.99, 1.01)):
        wave = np.sin(2 * np.pi * hertz * times)
        assert low <= detrended(wave, FPS)[middle].std() / wave[middle].std() <= high


def test_even_sampling_interpolates_between_time_stamps() -> None:
    times = np.array([5.0, 5.1, 5.4, 5.5])
    values = np.array([[1.0, 10.0], [2.0, 20.0], [5.0, 50.0], [6.0, 60.0]])
    np.testing.assert_allclose(resampled_evenly(values, times, 10.0), [[1, 10], [2, 20], [3, 30], [4, 40]])
    np.testing.assert_allclose(resampled_evenly(values[:, 0], times, 10.0), [1, 2, 3, 4])


def test_what_is_above_the_band_is_removed() -> None:
    times = np.arange(100) / FPS
    slow, fast = np.sin(2 * np.pi * 2 * times), np.sin(2 * np.pi * 6 * times)
    np.testing.assert_allclose(smoothed(np.stack([slow, slow + fast], 1), FPS), np.stack([slow, slow], 1), atol=1e-9)


def test_pos_is_algorithm_1_of_the_paper() -> None:
    length, pulse = 32, np.zeros(len(COLOURS))
    for start in range(len(COLOURS) - length + 1):
        window = COLOURS[start : start + length].T
        normal = np.diag(1 / window.mean(axis=1)) @ window
        s = np.array([[0, 1, -1], [-2, 1, 1]]) @ normal
        h = s[0] + np.std(s[0]) / np.std(s[1]) * s[1]
        pulse[start : start + length] += h - h.mean()
    np.testing.assert_allclose(pulse_signal(COLOURS, FPS, "pos"), detrended(pulse, FPS), atol=1e-10)


def test_chrom_is_the_chrominance_of_the_paper() -> None:
    length, count = 32, len(COLOURS)
    means = np.array([COLOURS[max(row - 16, 0) : row + 16].mean(axis=0) for row in range(count)])
    red, green, blue = (COLOURS / means).T
    pair = np.stack([3 * red - 2 * green, 1.5 * red + green - 1.5 * blue], 1)
    x, y = np.pad(smoothed(detrended(pair, FPS), FPS), ((16, 48), (0, 0))).T
    pulse, hann = np.zeros(len(x)), 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    for start in range(0, len(x) - length + 1, 16):
        one, other = x[start : start + length], y[start : start + length]
        ratio = one.std() / other.std() if other.std() else 0.0
        pulse[start : start + length] += hann * (one - ratio * other)
    np.testing.assert_allclose(pulse_signal(COLOURS, FPS, "chrom"), detrended(pulse[16 : 16 + count], FPS), atol=1e-10)


def test_green_is_the_green_channel() -> None:
    green = COLOURS[:, 1]
    np.testing.assert_allclose(pulse_signal(COLOURS, FPS, "green"), detrended(green / green.mean() - 1, FPS))
    np.testing.assert_allclose(pulse_signal(green, FPS, "green"), detrended(green, FPS))


def test_white_flicker_is_no_pulse_of_pos_and_chrom() -> None:
    times = np.arange(200) / FPS
    flicker = COLOURS.mean(axis=0) * (1 + 0.03 * np.sin(2 * np.pi * 1.5 * times))[:, None]
    for method in ("pos", "chrom"):
        assert (
            np.abs(pulse_signal(flicker, FPS, method)).max()
            < 1e-3 * np.abs(pulse_signal(flicker, FPS, "green")).max() + 1e-3
        )


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_trace_is_a_signal_of_zeros(method: str) -> None:
    np.testing.assert_allclose(pulse_signal(np.full((60, 3), 100.0), FPS, method), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("trace", "fps", "method", "message"),
    [
        (COLOURS, FPS, "poss", "no `method` 'poss'; choose from pos, chrom, green; did you mean"),
        (COLOURS, 0.0, "pos", "positive number of samples"),
        (COLOURS[:, 0], FPS, "pos", r"not \[80\]"),
        (COLOURS[:, :2], FPS, "green", r"not \[80, 2\]"),
        (COLOURS[:20], FPS, "pos", "at least 1.6 s"),
        (np.full((80, 3), np.nan), FPS, "pos", "finite"),
        (COLOURS * (1, 0, 1), FPS, "pos", "above 0"),
    ],
)
def test_traces_that_are_none_are_errors(trace: np.ndarray, fps: float, method: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pulse_signal(trace, fps, method)
