"""Reliability of predicted probabilities: calibration error, Brier score, negative log-likelihood."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_edge.metrics.label_agreement import SMALLEST

Probabilities = NDArray[np.floating]
Ids = NDArray[np.integer]
BINS = 15
"""Of Guo et al. 2017."""


def calibration_error(probabilities: Probabilities, truth: Ids, bins: int = BINS) -> float:
    """Compute the expected calibration error of the most probable label, in [0, 1] (Guo et al., ICML 2017, eq. 3).

    Args:
        probabilities: of the labels, [N, labels].
        truth: index of each sample's label, [N].
        bins: of equal width over (0, 1]; a confidence on an edge belongs to the lower one.
    """
    confidence = probabilities.max(-1)
    right = probabilities.argmax(-1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = [bin_of == index for index in np.unique(bin_of)]
    gaps = [abs(float(right[row].mean() - confidence[row].mean())) for row in rows]
    counts = [int(row.sum()) for row in rows]
    return float(np.dot(gaps, counts) / len(truth))


def brier_score(probabilities: Probabilities, truth: Ids) -> float:
    """Mean squared distance from the truth summed over the labels, in [0, 2] (Brier 1950); arguments as above."""
    target = np.eye(probabilities.shape[-1])[truth]
    return float(((probabilities - target) ** 2).sum(-1).mean())


def log_loss(probabilities: Probabilities, truth: Ids) -> float:
    """Mean negative log-likelihood of the true label in nats; arguments as above."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], SMALLEST, 1)).mean())
