"""How far a compressed part is from the PyTorch reference, and the gates it must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Distances = dict[str, dict[str, float]]
FP32_RELATIVE = 1e-4
FP16_COSINE = 0.9995
EXACT_AGREEMENT = 0.995
EXACT_PROBABILITY = 0.01


def tensor_distance(reference: NDArray[Any], found: NDArray[Any]) -> dict[str, float]:
    """Compare two arrays of one shape [N, ...].

    Returns ``max_error`` and ``mean_error`` (absolute), ``relative_error`` (the largest error over the largest
    reference value) and ``cosine`` (the smallest over the N samples).
    """
    true, other = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    if true.shape != other.shape:
        raise ValueError(f"shapes differ: {true.shape} and {other.shape}")
    error = np.abs(true - other)
    rows = [array.reshape(len(array), -1) for array in (true, other)]
    norms = np.maximum(np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1), 1e-30)
    return {
        "max_error": float(error.max()),
        "mean_error": float(error.mean()),
        "relative_error": float(error.max() / max(float(np.abs(true).max()), 1e-30)),
        "cosine": float(((rows[0] * rows[1]).sum(1) / norms).min()),
    }


def distances(reference: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> Distances:
    """Compare every output of a graph by name."""
    return {name: tensor_distance(reference[name], found[name]) for name in reference}


def graph_failures(precision: str, measured: Distances) -> list[str]:
    """Say which outputs of a graph miss the gate of its precision, and by how much."""
    if precision == "fp32":
        return [
            f"{name}: relative error {row['relative_error']:.2e}, the gate is {FP32_RELATIVE:.0e}"
            for name, row in measured.items()
            if not row["relative_error"] <= FP32_RELATIVE
        ]
    return [
        f"{name}: cosine {row['cosine']:.6f}, the gate is {FP16_COSINE}"
        for name, row in measured.items()
        if not row["cosine"] >= FP16_COSINE
    ]


def label_distance(reference: NDArray[np.floating], found: NDArray[np.floating]) -> dict[str, float]:
    """Compare label distributions, both [samples, labels] of probabilities.

    Returns the share of equal winners, the mean and largest Kullback-Leibler divergence KL(reference || found) in
    nats, the largest difference of a probability, and the number of samples.
    """
    true, other = (np.clip(np.asarray(rows, np.float64), 1e-12, 1) for rows in (reference, found))
    divergence = (true * np.log(true / other)).sum(-1)
    return {
        "label_agreement": float((true.argmax(-1) == other.argmax(-1)).mean()),
        "kl_mean": float(divergence.mean()),
        "kl_max": float(divergence.max()),
        "max_probability_error": float(np.abs(true - other).max()),
        "samples": float(len(true)),
    }


def exact_failures(measured: Mapping[str, float]) -> list[str]:
    """Say what keeps a profile from being called exact."""
    checks: Sequence[tuple[bool, str]] = (
        (
            measured["label_agreement"] >= EXACT_AGREEMENT,
            f"label agreement {measured['label_agreement']:.4f}, the gate is {EXACT_AGREEMENT}",
        ),
        (
            measured["max_probability_error"] <= EXACT_PROBABILITY,
            f"probability error {measured['max_probability_error']:.4f}, the gate is {EXACT_PROBABILITY}",
        ),
    )
    return [message for holds, message in checks if not holds]
