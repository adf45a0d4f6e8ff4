"""Named tensors of a graph: their dtype and shape, and the check of a feed against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype and shape of one tensor; a string in ``shape`` names an axis whose size varies."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def problems(self, value: Tensor, sizes: dict[str, int]) -> list[str]:
        """List what keeps ``value`` from being this tensor; ``sizes`` keeps each varying axis of one call."""
        if value.dtype != np.dtype(self.dtype):
            return [f"{self.name} is {value.dtype}, the graph asks for {self.dtype}"]
        if value.ndim != len(self.shape):
            return [f"{self.name} has shape {list(value.shape)}, the graph asks for {list(self.shape)}"]
        expected = [
            sizes.setdefault(axis, size) if isinstance(axis, str) else axis
            for axis, size in zip(self.shape, value.shape, strict=True)
        ]
        if expected != list(value.shape):
            return [f"{self.name} has shape {list(value.shape)}, the graph asks for {expected} here"]
        return []
