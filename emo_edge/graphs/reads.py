"""The shapes and the known numbers that one node of a graph reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from emo_edge.graphs.model import Node, Shape

Values = NDArray[Any] | None


class Reads:
    """The shapes that one node reads, and the numbers of those that are known."""

    def __init__(self, shapes: Sequence[Shape | None], values: Sequence[Values], opset: int) -> None:
        self._shapes, self._values, self.opset = shapes, values, opset

    def __len__(self) -> int:
        return len(self._shapes)

    def has(self, place: int) -> bool:
        """Return whether an input is given."""
        return place < len(self._shapes) and self._shapes[place] is not None

    def shape(self, place: int) -> Shape:
        """Return an input's shape; raise ValueError where it is not given."""
        shape = self._shapes[place] if place < len(self._shapes) else None
        if shape is None:
            raise ValueError("an input is missing")
        return shape

    def shapes(self) -> list[Shape]:
        """Return the shapes of all inputs that are given."""
        return [shape for shape in self._shapes if shape is not None]

    def numbers(self, place: int) -> list[int]:
        """Return an input's whole numbers; raise ValueError where they follow from nothing that is known."""
        values = self._values[place] if place < len(self._values) else None
        if values is None:
            raise ValueError("its size follows from values that only a run gives")
        return [int(value) for value in values.reshape(-1)]

    def reals(self, place: int) -> list[float]:
        """Return an input's numbers; raise ValueError where they follow from nothing that is known."""
        values = self._values[place] if place < len(self._values) else None
        if values is None:
            raise ValueError("its size follows from values that only a run gives")
        return [float(value) for value in values.reshape(-1)]

    def listed(self, node: Node, name: str, place: int) -> list[int] | None:
        """Return numbers that are an attribute in old opsets and an input in new ones; None where neither is there."""
        if self.has(place):
            return self.numbers(place)
        return node.numbers.get(name)
