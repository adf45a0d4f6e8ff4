"""How far a compressed part is from the PyTorch reference, and the gates it must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.tensors import Tensor

GATES = {"int8": 0.99, "fp16": 0.9995, "fp32": 0.9999}
"""How near an engine must be to ONNX Runtime on the same file, over samples and outputs; the coarsest first.

Float32 leaves the order of sums, fp16 is what export asks of a fp16 graph beside PyTorch, int8 what calibration asks.
"""


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
    if reference.shape != found.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {found.shape}")
    # Row by row: all rows in float64 at once would be several times what was compared.
    each = np.array([_row_distance(*pair) for pair in zip(reference, found, strict=True)])
    largest, mean, peak, cosine = each.T
    return {
        "max_error": float(largest.max()),
        "mean_error": float(mean.mean()),
        "relative_error": float(largest.max() / max(float(peak.max()), 1e-30)),
        "cosine": float(cosine.min()),
    }


def _row_distance(reference: NDArray[Any], found: NDArray[Any]) -> tuple[float, float, float, float]:
    """Return largest and mean error, the reference's largest value, and the cosine of one sample's arrays."""
    true, other = (np.asarray(array, np.float64).reshape(-1) for array in (reference, found))
    error = np.abs(true - other)
    norms = max(float(np.linalg.norm(true) * np.linalg.norm(other)), 1e-30)
    return float(error.max()), float(error.mean()), float(np.abs(true).max()), float(true @ other) / norms


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


def similarity(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, float]:
    """Compare by output: the smallest cosine over samples, times the shorter vector's share of the longer one's length.

    1 is equal; a scale that was lost shows as well as a direction. What is not finite is 0.
    """
    return {name: min(_near(*pair) for pair in zip(rows, found[name], strict=True)) for name, rows in expected.items()}


def gate_problem(variant: str, distance: Mapping[str, float]) -> str:
    """Say which outputs miss the gate of the variant; empty if none does."""
    gate = next((gate for name, gate in GATES.items() if variant.startswith(name)), GATES["int8"])
    missed = [f"{name} {value:.5f}" for name, value in distance.items() if not value >= gate]
    return f"nearness to ONNX Runtime: {', '.join(missed)}, the gate is {gate}" if missed else ""


def _near(one: Tensor, other: Tensor) -> float:
    true, found = (np.asarray(array, np.float64).reshape(-1) for array in (one, other))
    if not (np.isfinite(true).all() and np.isfinite(found).all()):
        return 0.0
    one_length, other_length = float(np.linalg.norm(true)), float(np.linalg.norm(found))
    if not (one_length and other_length):
        return float(one_length == other_length)
    cosine = float(true @ found) / (one_length * other_length)
    return cosine * min(one_length, other_length) / max(one_length, other_length)
