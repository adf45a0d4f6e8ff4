"""Brief movements in the curves of action units: their onset, apex and offset. NumPy alone, and nothing is trained.

A movement is looked for as a triangle above the face's own level: it rises from the onset to the apex and falls to the
offset, each in a time of its own. Every triangle that is short enough is laid over every place of the curves (a bank
of matched filters); its level and slope before and after are fitted and taken away, so that neither the face at rest
nor a slow expression counts. A unit counts by what the triangle explains of it, over what triangles usually explain in
the same video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_edge.errors import InputError

FloatArray = NDArray[np.float64]
LONGEST_S, SHORTEST_S = 0.5, 0.1
"""From onset to offset: half a second is the usual limit of a micro-expression (Yan et al. 2013)."""
FASTEST_S, SLOWEST_S = 0.05, 0.35
"""Of a rise or a fall alone."""
MARGIN_S = 0.15
"""Before the onset and after the offset, in which the face is at rest."""
GRID_S = 1 / 60
"""Between two lengths that are tried."""
WIDER = 1.3
"""Factor from a triangle's rise and fall to those of the movement: a network of action units answers a weak unit by
less than its strength, so that its curve begins late and ends early. Chosen on drawn clips."""
LEAST_FPS = 20.0
"""Frames a second below which a movement has too few of them."""
LARGEST_GAP_S = 0.1
"""Between two frames that show the face; a movement over a longer gap is not seen."""
LEAST_SCORE = 60.0
"""Chosen on drawn clips, where most faces at rest have none."""
FLOOR = 0.2
"""Usual product of a unit, of 0 to 5, with a triangle at 30 frames a second, at least. Chosen on drawn clips."""
USUAL, TO_DEVIATION = 0.3, 2.595
"""Quantile of absolute products that is the usual one, below the median because a short video is half movement; and
the factor from it to a standard deviation of normal values."""
FLOOR_FPS = 30.0
DIGITS = 6
"""Of a frame rate that is computed from time stamps."""
ROUNDING = 1e-6
"""Of a time in frames: time stamps round."""


@dataclass(frozen=True)
class Movement:
    """One brief movement; frames are indices into the curves."""

    onset: int
    apex: int
    offset: int
    score: float
    """Sum over the units that rise of their squared products with the triangle, each over its usual one."""
    rises: tuple[float, ...]
    """Fitted height of the triangle for each unit, on the scale of the curves; below 0 for a unit that falls."""


@dataclass(frozen=True)
class _Triangle:
    rise: int
    fall: int
    margin: int
    weights: FloatArray
    """Of unit length, without level and slope."""
    height: float
    """Of the triangle whose product with the weights is 1."""

    def products(self, curves: FloatArray) -> FloatArray:
        """Return the product with each unit of curves [N, U] at each start, [N - n + 1, U]."""
        return np.stack([np.correlate(column, self.weights, "valid") for column in curves.T], axis=1)


def spot_movements(
    curves: ArrayLike, times: ArrayLike, *, most: int | None = None, least_score: float = LEAST_SCORE
) -> list[Movement]:
    """Return the brief movements of a face, the clearest first; no two share a frame.

    Args:
        curves: intensities of action units from 0 to 5, [N, U], one row a frame that shows the face.
        times: seconds of these frames, [N], ascending.
        most: of the movements; None returns all.
        least_score: of a movement; 0 returns the clearest even where nothing moves.

    Raises InputError for curves and times that do not fit, values that are not finite, a video that is too short for a
    movement, and one of fewer than 20 frames a second.
    """
    values, seconds = _checked(curves, times)
    fps = round(1 / float(np.median(np.diff(seconds))), DIGITS)
    places = seconds[0] + np.arange(int((seconds[-1] - seconds[0]) * fps + ROUNDING) + 1) / fps
    bank = [one for one in _triangles(fps) if len(one.weights) <= len(places)]
    if fps < LEAST_FPS or not bank:
        raise InputError(
            f"{len(values)} frames in {seconds[-1] - seconds[0]:.1f} s: a brief movement needs {LEAST_FPS:g} frames a "
            f"second, and {SHORTEST_S + 2 * MARGIN_S:g} s or more"
        )
    even = np.stack([np.interp(places, seconds, column) for column in values.T], axis=1)
    deviations = TO_DEVIATION * np.quantile(np.abs(bank[len(bank) // 2].products(even)), USUAL, axis=0)
    usual = np.maximum(deviations, FLOOR * np.sqrt(fps / FLOOR_FPS))
    hidden = _hidden_places(seconds, places)
    movements: list[Movement] = []
    scores = [_scores(one, one.products(even) / usual, hidden) for one in bank]
    while most is None or len(movements) < most:
        best = max(range(len(bank)), key=lambda row: np.abs(scores[row]).max())
        start = int(np.abs(scores[best]).argmax())
        score = float(scores[best][start])
        if score == 0 or abs(score) < least_score:
            break
        onset, apex, offset = _places(bank[best], start, fps)
        if score > 0:
            first, middle, last = (_nearest(seconds, seconds[0] + place / fps) for place in (onset, apex, offset))
            rises = bank[best].height * bank[best].products(even[start : start + len(bank[best].weights)])[0]
            movements.append(Movement(first, middle, last, score, tuple(rises.tolist())))
        for one, own in zip(bank, scores, strict=True):
            starts = np.arange(len(own)) + one.margin
            own[(starts <= offset) & (starts + one.rise + one.fall >= onset)] = 0
    return movements


def _checked(curves: ArrayLike, times: ArrayLike) -> tuple[FloatArray, FloatArray]:
    values, seconds = np.asarray(curves, np.float64), np.asarray(times, np.float64)
    if values.ndim != 2 or seconds.shape != values.shape[:1] or not values.shape[1]:
        raise InputError(f"curves are [N, U] and times [N], not {list(values.shape)} and {list(seconds.shape)}")
    if not (np.isfinite(values).all() and np.isfinite(seconds).all()):
        raise InputError("curves and times have a value that is not finite")
    if len(seconds) < 2 or (np.diff(seconds) <= 0).any():
        raise InputError("times ascend, and are of two frames or more")
    return values, seconds


def _triangles(fps: float) -> Iterator[_Triangle]:
    """Yield the triangles that are short enough for a movement, by their rise."""
    step = max(1, round(GRID_S * fps))
    lengths = range(max(1, round(FASTEST_S * fps)), round(SLOWEST_S * fps) + 1, step)
    margin = round(MARGIN_S * fps)
    for rise, fall in product(lengths, lengths):
        if not SHORTEST_S * fps <= rise + fall <= LONGEST_S * fps + 1e-6:
            continue
        rest = np.zeros(margin)
        shape = np.concatenate([rest, np.arange(rise) / rise, 1 - np.arange(fall) / fall, rest, [0.0]])
        line = np.linspace(-1, 1, len(shape))
        basis, _ = np.linalg.qr(np.stack([np.ones(len(shape)), line], axis=1))
        weights = shape - basis @ (basis.T @ shape)
        length = float(np.linalg.norm(weights))
        yield _Triangle(rise, fall, margin, weights / length, 1 / length)


def _scores(one: _Triangle, products: FloatArray, hidden: NDArray[np.bool_]) -> FloatArray:
    """Return the score of a triangle at each start, below 0 where units fall; 0 where it lies over a gap.

    A fall has rises at both of its ends: it takes its place, so that neither of them is one.
    """
    rises, falls = (np.maximum(sign * products, 0) ** 2 for sign in (1, -1))
    scores = np.where(rises.sum(1) >= falls.sum(1), rises.sum(1), -falls.sum(1))
    gaps = np.convolve(hidden, np.ones(len(one.weights)), "valid")
    return np.where(gaps[: len(scores)] > 0, 0.0, scores)


def _hidden_places(seconds: FloatArray, places: FloatArray) -> NDArray[np.bool_]:
    """Return which even steps lie in a gap between two frames that show the face."""
    after = np.clip(np.searchsorted(seconds, places, side="right"), 1, len(seconds) - 1)
    return np.asarray(seconds[after] - seconds[after - 1] > LARGEST_GAP_S)


def _places(one: _Triangle, start: int, fps: float) -> tuple[float, int, float]:
    """Return onset, apex and offset in even steps, further apart than those of the triangle by `WIDER`."""
    apex = start + one.margin + one.rise
    factor = max(1.0, min(WIDER, LONGEST_S * fps / (one.rise + one.fall)))
    return apex - factor * one.rise, apex, apex + factor * one.fall


def _nearest(seconds: FloatArray, time_s: float) -> int:
    return int(np.abs(seconds - time_s).argmin())
