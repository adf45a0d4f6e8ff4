"""The neutral face of each person: a low percentile of the intensities of the first seconds in which it is there.

Counted in steps of a hundredth, and only while a face is there, so that memory does not grow with the video's length.
"""

from __future__ import annotations

import numpy as np

from emo_edge.tensors import Tensor

PERCENTILE = 5
"""Our choice; OpenFace's offsets are percentiles, too, another one for each unit."""
STEPS, HIGHEST = 500, 5.0
GONE_S = 10.0
"""After which a track that was not detected has ended: trackers keep none for so long."""


class NeutralFaces:
    """Collects intensities of faces by their tracks' numbers."""

    def __init__(self, seconds: float, units: int) -> None:
        """Take ``seconds`` of each face; a face that is there for less is taken as a whole."""
        self._seconds, self._units = seconds, units
        self._spans: dict[int, tuple[float, float]] = {}
        """First and latest time."""
        self._counts: dict[int, Tensor] = {}
        self._offsets: dict[int, Tensor] = {}

    def add(self, number: int, time_s: float, intensities: Tensor) -> None:
        """Add a face's intensities [units] at a time of the video; times never run back."""
        first, _ = self._spans.setdefault(number, (time_s, time_s))
        self._spans[number] = first, time_s
        if time_s - first > self._seconds:
            return
        counts = self._counts.setdefault(number, np.zeros((self._units, STEPS + 1), np.uint32))
        places = np.clip(np.round(intensities * (STEPS / HIGHEST)), 0, STEPS).astype(np.int64)
        counts[np.arange(self._units), places] += 1

    def settle(self, time_s: float = float("inf")) -> None:
        """Keep the offsets alone of faces whose seconds are over at ``time_s``, or that are gone."""
        for number, counts in list(self._counts.items()):
            first, latest = self._spans[number]
            if time_s - first > self._seconds + GONE_S or time_s - latest > GONE_S:
                self._offsets[number] = _percentiles(counts)
                del self._counts[number]

    def offset(self, number: int) -> Tensor:
        """Return the neutral intensities [units] of a track, after `settle`."""
        return self._offsets[number]


def _percentiles(counts: Tensor) -> Tensor:
    """Return the smallest step of each row that at least `PERCENTILE` of its counts do not exceed."""
    below = counts.cumsum(1)
    reached = below * 100 >= PERCENTILE * below[:, -1:]
    return np.asarray(reached.argmax(1) * (HIGHEST / STEPS))
