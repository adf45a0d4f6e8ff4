"""Placement of the names of a chart's points, so that they cover neither points nor each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

HEIGHT = 17.0
"""Of a line of text, in the chart's units."""
ANGLES = (-90, 90, 0, 180, -45, -135, 45, 135)
"""Degrees around a point, clockwise from the right; a name above or below is read best."""
DISTANCES = (3.0, 16.0, 34.0, 56.0, 84.0)


Spot = tuple[float, float, float]
"""x, y and radius of a point."""


class Box(NamedTuple):
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)

    def outside(self, room: Box) -> float:
        """Return the area that is not in ``room``."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(room)


def place_labels(widths: Sequence[float], spots: Sequence[Spot], room: Box, lines: Sequence[Box] = ()) -> list[Box]:
    """Choose a box for every name, one after the other.

    Args:
        widths: of the names.
        spots: x, y and radius of the points.
        room: where names may be.
        lines: boxes that names should not cover either, if there is room elsewhere.
    """
    hearts = [Box(x - 6, y - 6, x + 6, y + 6) for x, y, _ in spots]
    bubbles = [Box(x - size, y - size, x + size, y + size) for x, y, size in spots]
    placed: list[Box] = []
    for width, spot in zip(widths, spots, strict=True):
        occupied = [*hearts, *placed]

        def cost(candidate: tuple[int, Box], occupied: Sequence[Box] = occupied) -> float:
            rank, box = candidate
            hidden = 4 * sum(box.overlap(other) for other in occupied)
            crossed = 0.3 * sum(box.overlap(other) for other in (*bubbles, *lines))
            return hidden + crossed + 10 * box.outside(room) + rank

        placed.append(min(_candidates(width, *spot), key=cost)[1])
    return placed


def _candidates(width: float, x: float, y: float, radius: float) -> Iterator[tuple[int, Box]]:
    """Offer boxes around a point, the nearest first, each with its rank."""
    for rank, (distance, degrees) in enumerate((distance, degrees) for distance in DISTANCES for degrees in ANGLES):
        angle = math.radians(degrees)
        along, down = math.cos(angle), math.sin(angle)
        middle_x = x + along * (radius + distance + width / 2)
        middle_y = y + down * (radius + distance + HEIGHT / 2)
        yield rank, Box(middle_x - width / 2, middle_y - HEIGHT / 2, middle_x + width / 2, middle_y + HEIGHT / 2)
