"""Accuracy figures of the field, each from plain arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.metrics.bootstrap import RESAMPLES, SEED, percentile_interval, resampled

Ids = NDArray[np.integer]


def war(truth: Ids, predicted: Ids) -> float:
    """Weighted average recall: the fraction of samples that are right."""
    return float((truth == predicted).mean())


def uar(truth: Ids, predicted: Ids) -> float:
    """Unweighted average recall: the mean over classes of the fraction that is right."""
    support, hits = _support_and_hits(truth, predicted)
    return float((hits[support > 0] / support[support > 0]).mean())


def wilson_interval(fraction: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a fraction of ``count`` independent samples (Wilson 1927)."""
    centre = (fraction + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(fraction * (1 - fraction) / count + z * z / (4 * count * count))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def bootstrap_interval(truth: Ids, predicted: Ids, seed: int = SEED, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % percentile interval of the UAR over resampled samples."""
    return percentile_interval(resampled(lambda draw: uar(truth[draw], predicted[draw]), len(truth), seed, resamples))


def macro_f1(truth: Ids, predicted: Ids) -> float:
    """Mean over the classes of the truth of F1, the harmonic mean of precision and recall."""
    support, hits = _support_and_hits(truth, predicted)
    named = np.bincount(predicted[predicted >= 0], minlength=len(support))[: len(support)]
    present = support > 0
    return float((2 * hits[present] / (support + named)[present]).mean())


def top_k_accuracy(truth: Ids, scores: NDArray[np.floating], k: int) -> float:
    """Return the fraction of samples whose true label is among the ``k`` highest of scores [N, labels].

    A tie counts against the true label, so that equal scores are no hit by the order of the labels.
    """
    own = scores[np.arange(len(truth)), truth][:, None]
    return float(((scores >= own).sum(-1) <= k).mean())


def _support_and_hits(truth: Ids, predicted: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the samples of each class, and those that are right; counted at once, for a bootstrap asks 1000 times."""
    support = np.bincount(truth)
    return support, np.bincount(truth[truth == predicted], minlength=len(support))


def paired_interval(
    figure: Callable[[Ids, Ids], float],
    truth: Ids,
    before: Ids,
    after: Ids,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """95 % percentile interval of ``figure(after) - figure(before)`` over resampled samples, the same ones for both."""

    def change(draw: Ids) -> float:
        return figure(truth[draw], after[draw]) - figure(truth[draw], before[draw])

    return percentile_interval(resampled(change, len(truth), seed, resamples))


def mcnemar_p(truth: Ids, before: Ids, after: Ids) -> float:
    """Exact two-sided p that both are right equally often (McNemar 1947; binomial over the samples that changed)."""
    lost = int(((before == truth) & (after != truth)).sum())
    won = int(((before != truth) & (after == truth)).sum())
    changed, ways, tail = lost + won, 1, 0
    for count in range(min(lost, won) + 1):
        tail += ways
        ways = ways * (changed - count) // (count + 1)  # the next binomial: each anew would take hours from 10^5 on
    return float(min(1.0, 2 * tail / 2**changed))


def normalised_mean_error(predicted: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Landmark error per face as a fraction of the distance between the outer eye corners (300-W).

    Both [N, 68, 2] in the same isotropic pixel coordinates; the result is [N].
    """
    distance = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=-1)
    return np.asarray(np.linalg.norm(predicted - truth, axis=-1).mean(-1) / distance, np.float64)


def micro_f1(truth: Sequence[Collection[int]], predicted: Sequence[Collection[int]]) -> float:
    """F1 over all (sample, item) pairs together."""
    hits = sum(len(set(true) & set(own)) for true, own in zip(truth, predicted, strict=True))
    total = sum(len(true) for true in truth) + sum(len(own) for own in predicted)
    return 2 * hits / total if total else 1.0


def confusion(truth: Ids, predicted: Ids, classes: int) -> NDArray[np.int64]:
    """Count samples by [truth, predicted]."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Mean over classes present in the truth of intersection over union, from a confusion matrix."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    present = counts.sum(1) > 0
    return float((hits[present] / union[present]).mean())
