"""Detection of action units: F1, area under the ROC curve, calibration; labels may be missing, which is NaN.

Every figure comes from sums over frames, so that those of several people can be added, and drawn anew by
`emo_edge.metrics.by_subject`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_edge.metrics.reliability import BINS

FloatArray = NDArray[np.float64]
LEVELS = 2048
"""Scores of a histogram that is drawn a thousand times."""


def detection_counts(truth: ArrayLike, active: ArrayLike) -> FloatArray:
    """Return hits, false alarms and misses of each unit, [U, 3].

    Args:
        truth: 1 or 0 for each frame and unit, [N, U]; NaN where the label is missing, which counts nowhere.
        active: predicted, bool [N, U].
    """
    labels, predicted = np.asarray(truth, np.float64), np.asarray(active, bool)
    hits = ((labels == 1) & predicted).sum(0)
    return np.stack([hits, ((labels == 0) & predicted).sum(0), ((labels == 1) & ~predicted).sum(0)], -1).astype(float)


def f1_of_counts(counts: FloatArray) -> FloatArray:
    """Return F1 of `detection_counts`, [...] of [..., 3]; NaN for a unit that is neither there nor predicted."""
    hits, errors = counts[..., 0], counts[..., 1] + counts[..., 2]
    total = 2 * hits + errors
    return np.asarray(np.divide(2 * hits, total, out=np.full(np.shape(hits), np.nan), where=total > 0))


def mean_of_defined(values: FloatArray) -> float:
    """Return the mean of the values that are not NaN; NaN where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def score_histograms(truth: Sequence[ArrayLike], scores: Sequence[ArrayLike]) -> FloatArray:
    """Count inactive and active frames of one unit at each score, ascending, [subjects, 2, scores].

    Args:
        truth: of each subject, [N] of 1, 0 or NaN.
        scores: likewise, any numbers that rise with the unit; NaN where there is none. Frames without a label or a
            score are left out.
    """
    pairs = [
        (labels[kept], values[kept])
        for labels, values in zip(map(_floats, truth), map(_floats, scores), strict=True)
        for kept in [~np.isnan(labels) & ~np.isnan(values)]
    ]
    levels = np.unique(np.concatenate([values for _, values in pairs])) if pairs else np.zeros(0)
    histograms = np.zeros((len(pairs), 2, len(levels)))
    for own, (labels, values) in zip(histograms, pairs, strict=True):
        spots = np.searchsorted(levels, values)
        for label in (0, 1):
            own[label] = np.bincount(spots[labels == label], minlength=len(levels))
    return histograms


def coarse_histograms(histograms: FloatArray, levels: int = LEVELS) -> FloatArray:
    """Return `score_histograms` with at most ``levels`` scores, neighbours taken together in equal numbers of frames.

    For the draws of an interval, whose width does not depend on the fourth digit of a score.
    """
    if histograms.shape[-1] <= levels:
        return histograms
    reached = np.cumsum(histograms.sum((0, 1)))
    groups = np.minimum((reached * levels / reached[-1]).astype(np.int64), levels - 1)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.asarray(np.add.reduceat(histograms, starts, axis=-1))


def auc_of_histogram(histogram: FloatArray) -> float:
    """Return the area under the ROC curve of counts [2, scores]; NaN where active or inactive frames are missing.

    The probability that an active frame has the higher score than an inactive one, ties count half (Hanley and McNeil
    1982).
    """
    inactive, active = histogram
    pairs = inactive.sum() * active.sum()
    below = np.cumsum(inactive) - inactive / 2
    return float((active * below).sum() / pairs) if pairs else float("nan")


def roc_auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve of one unit; truth and scores [N] as in `score_histograms`."""
    return auc_of_histogram(score_histograms([truth], [scores])[0])


def calibration_sums(truth: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> FloatArray:
    """Return frames, active frames and the sum of probabilities in bins of equal width over (0, 1], [bins, 3].

    Truth [N] is 1, 0 or NaN, probabilities are those of an active unit; frames without either are left out.
    """
    labels, given = _floats(truth), _floats(probabilities)
    kept = ~np.isnan(labels) & ~np.isnan(given)
    labels, given = labels[kept], given[kept]
    rows = np.clip(np.ceil(given * bins).astype(np.int64) - 1, 0, bins - 1)
    weights = (np.ones(len(rows)), labels, given)
    return np.stack([np.bincount(rows, weight, bins) for weight in weights], -1)


def error_of_calibration(sums: FloatArray) -> float:
    """Return the expected calibration error of `calibration_sums`, in [0, 1]; NaN for no frame.

    The mean over frames of the distance between a bin's mean probability and its fraction of active frames (Naeini et
    al., AAAI 2015; of one binary label, unlike `emo_edge.metrics.reliability.calibration_error`).
    """
    frames = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / frames) if frames else float("nan")


def _floats(values: ArrayLike) -> FloatArray:
    return np.asarray(values, np.float64)
