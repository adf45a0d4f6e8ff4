"""A Kalman filter of one box: its middle moves at a constant velocity, its size stays, in seconds of the source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.media.crops import Box

Floats = NDArray[np.float64]
MIDDLE_NOISE, SIZE_NOISE = 0.04, 0.08
"""One sigma of a detector's box, in sides of the box (Haar's boxes against drawn faces: 0.03 and 0.08)."""
ACCELERATION = 3.0
"""One sigma of a face's acceleration in a second, in sides of its box."""
SIZE_CHANGE = 0.4
"""One sigma of the change of a side in a second."""
LONGEST_MOTION_S = 1.0
"""Of a prediction: nobody keeps a velocity for longer."""
FIRST_SPEED = 1.5
"""One sigma of the velocity of a face that was detected once, in sides a second."""

STATE = (
    *("_middle", "_size", "_velocity", "_place_variance"),
    *("_common", "_velocity_variance", "_size_variance"),
)
"""Attributes of a filter, two numbers each."""


class BoxFilter:
    """The state of a box: middle and size, the middle's velocity, and how sure each is.

    Both directions of the middle are independent, with one covariance of place and velocity each (``P`` of the
    textbooks, here of two rows); width and height are random walks.
    """

    def __init__(self, box: Box) -> None:
        self._middle, self._size = _middle(box), _size(box)
        self._velocity = np.zeros(2)
        side = self._side
        self._place_variance = np.full(2, (MIDDLE_NOISE * side) ** 2)
        self._common, self._velocity_variance = np.zeros(2), np.full(2, (FIRST_SPEED * side) ** 2)
        self._size_variance = np.full(2, (SIZE_NOISE * side) ** 2)

    @classmethod
    def from_state(cls, values: Sequence[float]) -> BoxFilter:
        """Return the filter whose `state` it was."""
        made = cls((0.0, 0.0, 1.0, 1.0))
        for name, pair in zip(STATE, np.asarray(values, np.float64).reshape(len(STATE), 2), strict=True):
            setattr(made, name, pair.copy())
        return made

    def state(self) -> list[float]:
        """Return everything that later boxes depend on, in numbers that JSON keeps exactly."""
        return [float(value) for name in STATE for value in getattr(self, name)]

    @property
    def box(self) -> Box:
        """Return the box at the time of the last `predict` or `update`."""
        x, y, half_x, half_y = (float(value) for value in (*self._middle, *(self._size / 2)))
        return (x - half_x, y - half_y, x + half_x, y + half_y)

    def predict(self, seconds: float) -> None:
        """Move the box on by ``seconds``."""
        side, before = self._side, self._common.copy()
        force = (ACCELERATION * side) ** 2
        self._middle = self._middle + self._velocity * min(seconds, LONGEST_MOTION_S)
        self._place_variance += 2 * seconds * before + seconds**2 * self._velocity_variance + force * seconds**3 / 3
        self._common += seconds * self._velocity_variance + force * seconds**2 / 2
        self._velocity_variance += force * seconds
        self._size_variance += (SIZE_CHANGE * side) ** 2 * seconds

    def update(self, box: Box) -> None:
        """Correct the box by a detected one of the same moment."""
        side = self._side
        off = _middle(box) - self._middle
        total = self._place_variance + (MIDDLE_NOISE * side) ** 2
        gain, velocity_gain = self._place_variance / total, self._common / total
        self._middle, self._velocity = self._middle + gain * off, self._velocity + velocity_gain * off
        self._velocity_variance -= velocity_gain * self._common
        self._place_variance, self._common = (1 - gain) * self._place_variance, (1 - gain) * self._common
        size_gain = self._size_variance / (self._size_variance + (SIZE_NOISE * side) ** 2)
        self._size = self._size + size_gain * (_size(box) - self._size)
        self._size_variance = (1 - size_gain) * self._size_variance

    @property
    def _side(self) -> float:
        return max(float(self._size.max()), 1.0)


def _middle(box: Box) -> Floats:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def _size(box: Box) -> Floats:
    return np.array([box[2] - box[0], box[3] - box[1]])
