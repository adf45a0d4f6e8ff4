"""Probabilities from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the softmax over the last axis, in float64."""
    shifted = np.asarray(logits, np.float64)
    weights = np.exp(shifted - shifted.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the logistic function of each logit, in float64."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float64), -60, 60))))


def tempered(scores: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Compute the softmax over the last axis of scores divided by a temperature above 0, however small it is."""
    shifted = np.asarray(scores, np.float64)
    with np.errstate(over="ignore"):  # a temperature near 0 leaves the largest score alone
        return softmax((shifted - shifted.max(-1, keepdims=True)) / temperature)
