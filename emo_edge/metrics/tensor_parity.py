"""Distances between a compressed part's tensors and the reference's: errors, cosine, similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.tensors import Tensor

Distances = dict[str, dict[str, float]]
SMALLEST = 1e-30
"""Least divisor."""
AROUND_ZERO = frozenset({"values"})
"""Outputs of few numbers, which may all be next to zero in one sample: their cosine is over all samples at once."""


def tensor_distance(reference: NDArray[Any], other: NDArray[Any]) -> dict[str, float]:
    """Compare two arrays of one shape [N, ...].

    Returns ``max_error`` and ``mean_error`` (absolute), ``relative_error`` (see there) and ``cosine`` (the smallest
    over the N samples; 0 where both are zero).
    """
    if reference.shape != other.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {other.shape}")
    # Row by row: all rows in float64 at once would be several times what was compared.
    each = np.array([_row_distance(*pair) for pair in zip(reference, other, strict=True)])
    largest, mean, peak, cosines = each.T
    return {
        "max_error": float(largest.max()),
        "mean_error": float(mean.mean()),
        "relative_error": relative_error(float(largest.max()), float(peak.max())),
        "cosine": float(cosines.min()),
    }


def distances(reference: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> Distances:
    """Compare every output of a graph by name."""
    measured = {name: tensor_distance(reference[name], other[name]) for name in reference}
    whole = {name: {"cosine": cosine(reference[name], other[name])} for name in AROUND_ZERO & reference.keys()}
    return {name: row | whole.get(name, {}) for name, row in measured.items()}


def similarity(expected: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> dict[str, float]:
    """Compare by output: the smallest cosine over samples, times the ratio of the shorter length to the longer one.

    1 is equal; a scale that was lost shows as well as a direction. A value that is not finite gives 0.
    """
    return {
        name: _row_similarity(rows, outputs[name])
        if name in AROUND_ZERO
        else min(_row_similarity(*pair) for pair in zip(rows, outputs[name], strict=True))
        for name, rows in expected.items()
    }


def smallest_cosine(reference: Tensor, other: Tensor) -> float:
    """Return the smallest cosine of two arrays [N, ...] over the N samples; -1 where ``other`` is not finite."""
    if not np.isfinite(other).all():
        return -1.0
    return min(cosine(*pair) for pair in zip(reference, other, strict=True))


def centred_cosine(reference: Tensor, other: Tensor) -> float:
    """Return the cosine of two arrays [N, ...] as one vector each, the reference's mean over N subtracted from both.

    What all samples have in common, such as where a mean face's landmarks lie, hides no error so. -1 where ``other``
    is not finite; 1 where both hold nothing but the mean.
    """
    if not np.isfinite(other).all():
        return -1.0
    mean = reference.mean(0, dtype=np.float64)
    sums = np.zeros(3)
    for row, its_row in zip(reference, other, strict=True):
        own, its = (_flat(values - mean) for values in (row, its_row))
        sums += own @ its, own @ own, its @ its
    product, *squares = sums
    return float(product / np.sqrt(np.prod(squares))) if all(squares) else float(not any(squares))


def cosine(reference: Tensor, other: Tensor, *, of_zeros: float = 1.0) -> float:
    """Return the cosine of two arrays as one vector each; 0 where one is zero, ``of_zeros`` where both are."""
    own, its = _flat(reference), _flat(other)
    if not own.any() and not its.any():
        return of_zeros
    return float(own @ its) / max(float(np.linalg.norm(own) * np.linalg.norm(its)), SMALLEST)


def relative_error(error: float, peak: float) -> float:
    """Return the largest error over the reference's largest magnitude."""
    return error / max(peak, SMALLEST)


def _row_distance(reference: Tensor, other: Tensor) -> tuple[float, float, float, float]:
    """Return largest and mean error, the reference's largest value, and the cosine of one sample's arrays."""
    own, its = _flat(reference), _flat(other)
    error = np.abs(own - its)
    return float(error.max()), float(error.mean()), float(np.abs(own).max()), cosine(own, its, of_zeros=0.0)


def _row_similarity(reference: Tensor, other: Tensor) -> float:
    own, its = _flat(reference), _flat(other)
    if not (np.isfinite(own).all() and np.isfinite(its).all()):
        return 0.0
    shorter, longer = sorted((float(np.linalg.norm(own)), float(np.linalg.norm(its))))
    return cosine(own, its) * shorter / longer if longer else 1.0


def _flat(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values, np.float64).reshape(-1)
