"""How far predicted probabilities can be trusted: calibration error, Brier score, negative log-likelihood."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.floating]
Ids = NDArray[np.integer]
BINS = 15
"""Of Guo et al. 2017."""
SMALLEST = 1e-12
"""Least probability of a true label: one answer of zero must not make the mean infinite."""


def calibration_error(shares: Shares, truth: Ids, bins: int = BINS) -> float:
    """Compute the expected calibration error of the most probable label, in [0, 1] (Guo et al., ICML 2017, eq. 3).

    Args:
        shares: probabilities [N, labels].
        truth: index of each sample's label, [N].
        bins: of equal width over (0, 1]; a confidence on an edge belongs to the lower one.
    """
    confidence = shares.max(-1)
    right = shares.argmax(-1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = [abs(float(right[place == one].mean() - confidence[place == one].mean())) for one in np.unique(place)]
    counts = [int((place == one).sum()) for one in np.unique(place)]
    return float(np.dot(gaps, counts) / len(truth))


def brier_score(shares: Shares, truth: Ids) -> float:
    """Mean squared distance from the truth summed over the labels, in [0, 2] (Brier 1950); arguments as above."""
    wanted = np.eye(shares.shape[-1])[truth]
    return float(((shares - wanted) ** 2).sum(-1).mean())


def log_loss(shares: Shares, truth: Ids) -> float:
    """Mean negative log-likelihood of the true label in nats; arguments as above."""
    return float(-np.log(np.clip(shares[np.arange(len(truth)), truth], SMALLEST, 1)).mean())
