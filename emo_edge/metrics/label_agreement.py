"""A variant's cost on labels: agreement with full precision, divergence, accuracy where truth is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.metrics.classification import macro_f1, mcnemar_p, micro_f1, paired_interval, uar, war, wilson_interval
from emo_edge.metrics.facial_cues import cues_in

Probabilities = NDArray[np.floating]
SMALLEST = 1e-12
"""Least probability that is divided by or whose logarithm is taken."""


def kl_divergence(reference: Probabilities, predicted: Probabilities, *, floored: bool = True) -> NDArray[np.float64]:
    """Return KL(reference || predicted) of every sample in nats; both [N, labels] of probabilities.

    ``floored`` replaces by 0 what rounding leaves below it.
    """
    true, other = (np.clip(np.asarray(rows, np.float64), SMALLEST, 1) for rows in (reference, predicted))
    divergence = (true * np.log(true / other)).sum(-1)
    return np.asarray(np.maximum(divergence, 0.0) if floored else divergence)


def label_distance(reference: Probabilities, predicted: Probabilities) -> dict[str, float]:
    """Compare label distributions, both [samples, labels] of probabilities.

    Returns the fraction of equal winners, the mean and largest Kullback-Leibler divergence KL(reference || predicted)
    in nats, the largest difference of a probability, and the number of samples.
    """
    true, other = (np.clip(np.asarray(rows, np.float64), SMALLEST, 1) for rows in (reference, predicted))
    divergence = kl_divergence(true, other, floored=False)
    return {
        "label_agreement": float((true.argmax(-1) == other.argmax(-1)).mean()),
        "kl_mean": float(divergence.mean()),
        "kl_max": float(divergence.max()),
        "max_probability_error": float(np.abs(true - other).max()),
        "samples": float(len(true)),
    }


def label_evidence(
    reference: Probabilities, predicted: Probabilities, truth: Sequence[int] | None = None
) -> dict[str, float]:
    """Compare a variant's label distributions with full precision's, both [N, labels].

    Args:
        reference: of the full-precision model.
        predicted: by the variant.
        truth: index of each sample's true label, where it is known.

    Returns:
        ``label_agreement`` with its Wilson interval (``_low``, ``_high``), ``kl_mean``, ``kl_p95``, ``kl_max``,
        ``max_probability_error``, ``samples``; with truth also ``war``, ``uar`` and ``macro_f1`` of the variant, the
        difference of each from full precision (``_delta``, paired bootstrap ``_delta_low``, ``_delta_high``) and
        McNemar's exact ``mcnemar_p``.
    """
    divergence, count = kl_divergence(reference, predicted), len(reference)
    before, after = reference.argmax(-1), predicted.argmax(-1)
    agreement = float((before == after).mean())
    low, high = wilson_interval(agreement, count)
    evidence = {
        "label_agreement": agreement,
        "label_agreement_low": low,
        "label_agreement_high": high,
        "kl_mean": float(divergence.mean()),
        "kl_p95": float(np.percentile(divergence, 95)),
        "kl_max": float(divergence.max()),
        "max_probability_error": float(np.abs(np.asarray(reference) - predicted).max()),
        "samples": float(count),
    }
    return evidence if truth is None else evidence | _accuracy(np.asarray(truth), before, after)


def interval_checks(figures: Mapping[str, float]) -> list[tuple[bool, str]]:
    """Require that an interval of `label_evidence` has both its ends and its figure: each check and its message."""
    stems = {name.removesuffix("_low").removesuffix("_high") for name in figures if name.endswith(("_low", "_high"))}
    stems |= {name for name in ("war_delta", "uar_delta", "macro_f1_delta") if name in figures}
    wanted = [f"{stem}{end}" for stem in sorted(stems) for end in ("", "_low", "_high")]
    return [(name in figures, f"an interval without {name}") for name in wanted]


def cue_evidence(
    reference: Sequence[str], described: Sequence[str], truth: Sequence[Collection[int]] | None = None
) -> dict[str, float]:
    """Compare the facial cues that a variant's descriptions name with those that full precision's name.

    Args:
        reference: of the full-precision model.
        described: by the variant, for the same pictures.
        truth: action units that each picture shows, where they are known.

    Returns:
        ``cue_f1`` (micro-F1 against full precision's words) and ``cue_samples``; with truth ``cue_f1_truth`` and its
        difference from full precision's, ``cue_f1_truth_delta``. Nothing where full precision names no cue.
    """
    before, after = ([cues_in(text) for text in texts] for texts in (reference, described))
    if not any(before):
        return {}
    evidence = {"cue_f1": micro_f1(before, after), "cue_samples": float(len(before))}
    if truth is not None:
        reached = micro_f1(truth, after)
        evidence |= {"cue_f1_truth": reached, "cue_f1_truth_delta": reached - micro_f1(truth, before)}
    return evidence


def _accuracy(truth: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64]) -> dict[str, float]:
    figures = {"mcnemar_p": mcnemar_p(truth, before, after)}
    for name, figure in (("war", war), ("uar", uar), ("macro_f1", macro_f1)):
        low, high = paired_interval(figure, truth, before, after)
        value = figure(truth, after)
        delta = value - figure(truth, before)
        figures |= {name: value, f"{name}_delta": delta, f"{name}_delta_low": low, f"{name}_delta_high": high}
    return figures
