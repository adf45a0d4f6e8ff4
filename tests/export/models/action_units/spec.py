"""Arithmetic of both networks of action units in float64 numpy, with loops, from their description."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
erf = np.vectorize(math.erf)


class State:
    """Weights by name, and the layers that both networks have."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def __getitem__(self, name: str) -> Array:
        return self.weights[name]

    def linear(self, name: str, x: Array) -> Array:
        """Map [..., in] to [..., out]."""
        bias = self.weights.get(f"{name}.bias", np.zeros(1))
        return x @ self[f"{name}.weight"].T + bias

    def norm(self, name: str, x: Array, eps: float = 1e-5) -> Array:
        """Normalise the last axis."""
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self[f"{name}.weight"] + self[f"{name}.bias"]

    def conv(self, name: str, x: Array, dilation: int = 1, groups: int = 1) -> Array:
        """Convolve [C, h, w] pixel by pixel, with zeros outside."""
        weight, bias = self[f"{name}.weight"], self[f"{name}.bias"]
        outputs, inputs, side, _ = weight.shape
        channels, height, width = x.shape
        assert channels == inputs * groups
        result = np.zeros((outputs, height, width))
        for out in range(outputs):
            group = out // (outputs // groups)
            for row in range(height):
                for column in range(width):
                    total = bias[out]
                    for i in range(side):
                        for j in range(side):
                            y, z = row + (i - side // 2) * dilation, column + (j - side // 2) * dilation
                            if 0 <= y < height and 0 <= z < width:
                                total += weight[out, :, i, j] @ x[group * inputs : (group + 1) * inputs, y, z]
                    result[out, row, column] = total
        return result


def gelu(x: Array) -> Array:
    """Return the exact GELU."""
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def softmax(x: Array, axis: int = -1) -> Array:
    """Return the softmax along ``axis``."""
    raised = np.exp(x - x.max(axis, keepdims=True))
    return raised / raised.sum(axis, keepdims=True)


def sigmoid(x: Array) -> Array:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-x))
