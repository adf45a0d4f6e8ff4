"""Fast movements of a face, as micro-expressions are: action units that rise and fall again within half a second.

A movement is looked for in the curves of all units of one face, as its readings come. The newest part is compared with
triangles of every rise and fall that are fast enough, each without its mean and its slope. A unit counts where it falls
about as far as it rose: an expression that begins or ends, however fast, does not. The score is that of a matched
filter (the root of the summed squares of the units' parts over their own noise); the best of neighbouring moments
counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
RATE = 30.0
"""Samples a second of the curves, which are read between their own samples."""
LEAST_FPS = 25.0
"""Readings a second below which a movement of some frames cannot be told from noise."""
LONGEST_GAP_S = 0.1
"""Between two readings of the last second."""
SHORTEST, LONGEST = 4, 15
"""Samples from onset to offset, of which half a second has 15."""
LEAST_SIDE, MOST_SIDE = 2, 11
"""Samples of the rise, and of the fall."""
MARGIN = 4
"""Samples of rest before the onset and after the offset."""
LOOK = 10
"""Samples before that rest, which are no other: the tip of a slow rise and fall is no movement of its own."""
WINDOW = LONGEST + 2 * MARGIN + LOOK + 1
OFFSET = WINDOW - 1 - MARGIN
"""Row of the window at which every triangle ends."""
NOISE_S, LEAST_NOISE_S = 3.0, 1.2
"""Time over which the noise of each unit is measured, and the least of it."""
LEAST_NOISE = 0.03
"""Of an intensity from 0 to 5."""
THRESHOLD = 50.0
"""Least score, chosen on drawn clips read by emo-tiny."""
LEAST_RISE = 0.25
"""Of a unit that takes part, of an intensity from 0 to 5."""
EVEN = 0.5
"""Least part of the larger of rise and fall that the smaller one has."""
SETTLED_S = 0.3
"""After the best moment, before it counts."""


@dataclass(frozen=True)
class FastMovement:
    """One rise and fall."""

    onset_s: float
    apex_s: float
    offset_s: float
    """Seconds of the source; at most half a second after the onset."""
    units: Mapping[str, float]
    """Rise of each unit that took part, the largest first: from 0 to 5 where the bundle gives intensities."""
    score: float


@dataclass(frozen=True)
class _Triangles:
    """Every rise and fall, each at the end of the window with its margins."""

    weights: FloatArray
    """[triangles, WINDOW], each of norm 1 and orthogonal to a mean and a slope of its own part."""
    onsets: NDArray[np.int64]
    apexes: NDArray[np.int64]
    """Rows of the window."""


@cache
def _triangles() -> _Triangles:
    lengths = range(LEAST_SIDE, MOST_SIDE + 1)
    sides = [(rise, fall) for rise in lengths for fall in lengths if SHORTEST <= rise + fall <= LONGEST]
    apexes = np.array([OFFSET - fall for _, fall in sides])
    onsets = np.array([OFFSET - fall - rise for rise, fall in sides])
    return _Triangles(np.stack([_weights(rise, fall) for rise, fall in sides]), onsets, apexes)


def _weights(rise: int, fall: int) -> FloatArray:
    rest = np.zeros(MARGIN)
    shape = np.concatenate([rest, np.arange(rise) / rise, 1 - np.arange(fall + 1) / fall, rest])
    line = np.stack([np.ones(len(shape)), np.linspace(-1, 1, len(shape))], axis=1)
    basis, _ = np.linalg.qr(line)
    shape = shape - basis @ (basis.T @ shape)
    weights = np.zeros(WINDOW)
    weights[WINDOW - len(shape) :] = shape / np.linalg.norm(shape)
    return weights


class FastMovements:
    """The curves of one face over the last seconds."""

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._times: deque[float] = deque()
        self._values: deque[FloatArray] = deque()
        self._names: tuple[str, ...] = ()
        self._best: FastMovement | None = None
        self._until_s = -np.inf
        """End of the movement before."""
        self.was_dense = False
        """True once readings came fast enough to find a movement in them."""

    def add(self, seconds: float, values: Mapping[str, float]) -> list[FastMovement]:
        """Add the units' values of a reading; return the movement that is sure now, if any.

        A reading whose time is not after the one before, or which has other units, begins the curves anew.
        """
        if self._times and (seconds <= self._times[-1] or tuple(values) != self._names):
            self._times.clear()
            self._values.clear()
            self._best, self._until_s = None, -np.inf
        self._names = tuple(values)
        self._times.append(seconds)
        self._values.append(np.array(list(values.values()), np.float64))
        while self._times[0] < seconds - NOISE_S:
            self._times.popleft()
            self._values.popleft()
        candidate = self._candidate()
        if candidate is not None and (self._best is None or candidate.score > self._best.score):
            self._best = candidate
        return self._settled(seconds)

    def end(self) -> list[FastMovement]:
        """Return the movement that is not sure yet, if any: nothing follows."""
        return self._settled(np.inf)

    def _settled(self, seconds: float) -> list[FastMovement]:
        best = self._best
        if best is None or seconds < best.offset_s + SETTLED_S:
            return []
        self._best, self._until_s = None, best.offset_s
        return [best]

    def _candidate(self) -> FastMovement | None:
        """Return the best triangle that ends now, if it is above the threshold."""
        times = np.array(self._times)
        if len(times) < 3 or times[-1] - times[0] < LEAST_NOISE_S or not _is_dense(times):
            return None
        self.was_dense = True
        grid = times[-1] - np.arange(int((times[-1] - times[0]) * RATE), -1, -1) / RATE
        curves = _without_spikes(np.stack([np.interp(grid, times, row) for row in np.array(self._values).T], axis=1))
        noise = np.maximum(_noise(curves), LEAST_NOISE)
        triangles, window = _triangles(), curves[-WINDOW:]
        parts = np.maximum(triangles.weights @ window, 0.0)
        rises = _rises(window, triangles)
        scores = np.sqrt((((parts / noise) ** 2) * (rises >= LEAST_RISE)).sum(axis=1))
        place = int(scores.argmax())
        if scores[place] < self._threshold:
            return None
        rows = (triangles.onsets[place], triangles.apexes[place], OFFSET)
        onset_s, apex_s, offset_s = (float(grid[-WINDOW:][row]) for row in rows)
        if onset_s < self._until_s:
            return None
        named = sorted(zip(rises[place].tolist(), self._names, strict=True), key=lambda one: -one[0])
        units = {name: rise for rise, name in named if rise >= LEAST_RISE}
        return FastMovement(onset_s, apex_s, offset_s, units, float(scores[place]))


def _rises(window: FloatArray, triangles: _Triangles) -> FloatArray:
    """Return each unit's height over the higher one of its rests [triangles, units].

    0 where rise and fall are too uneven, and where the curve was elsewhere before it rested.
    """
    before = window[triangles.onsets[:, None] - np.arange(MARGIN + 1)].mean(axis=1)
    earlier = window[triangles.onsets[:, None] - MARGIN - 1 - np.arange(LOOK)].mean(axis=1)
    after = window[OFFSET:].mean(axis=0)
    apexes = window[triangles.apexes]
    lesser, larger = apexes - np.maximum(before, after), apexes - np.minimum(before, after)
    is_alone = (lesser >= EVEN * larger) & (np.abs(before - earlier) <= EVEN * lesser)
    return np.asarray(np.where(is_alone, lesser, 0.0))


def _is_dense(times: FloatArray) -> bool:
    """Return True if the readings of the last second came fast enough, without a gap."""
    steps = np.diff(times[times >= times[-1] - WINDOW / RATE])
    return len(steps) > 0 and float(np.median(steps)) <= 1.1 / LEAST_FPS and float(steps.max()) <= LONGEST_GAP_S


def _without_spikes(curves: FloatArray) -> FloatArray:
    """Take the middle of each three samples: a single frame is no movement."""
    middle = np.median(np.stack([curves[:-2], curves[1:-1], curves[2:]]), axis=0)
    return np.concatenate([curves[:1], middle, curves[-1:]])


def _noise(curves: FloatArray) -> FloatArray:
    """Return the standard deviation of each curve's noise, from the middle size of its second differences."""
    second = curves[:-2] - 2 * curves[1:-1] + curves[2:]
    return np.asarray(1.4826 * np.median(np.abs(second), axis=0) / np.sqrt(6.0))
