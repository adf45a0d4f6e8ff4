"""Probabilities from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the softmax over the last axis, in float64."""
    shifted = np.asarray(logits, np.float64)
    weights = np.exp(shifted - shifted.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))
