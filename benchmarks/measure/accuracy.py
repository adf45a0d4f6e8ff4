"""Figures of a row from its predictions: accuracy with intervals, calibration, subgroups, full precision."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.measure.predictions import Predictions
from emo_edge.benchmarks.workload.sample_table import BenchSample
from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.metrics.classification import confusion, macro_f1, uar, war, wilson_interval
from emo_edge.metrics.gates import Gate, profile_gate
from emo_edge.metrics.label_agreement import label_evidence
from emo_edge.metrics.reliability import brier_score, calibration_error, log_loss
from emo_edge.taxonomy import ADJECTIVES

Ids = NDArray[np.int64]
Figure = Callable[[NDArray[np.integer], NDArray[np.integer]], float]
NOT_NAMED = -1
"""Predicted label of an answer that names none: never right."""


def accuracy_of(predictions: Predictions, samples: Sequence[BenchSample], labels: Sequence[str]) -> dict[str, Any]:
    """Return the ``accuracy`` of a row; classes without a sample are left out of every mean over classes."""
    truth, predicted = truth_of(samples), predictions.probabilities.argmax(-1)
    counts = confusion(truth, predicted, len(labels))
    accuracy = war(truth, predicted)
    low, high = wilson_interval(accuracy, len(truth))
    return {
        "war": {"value": accuracy, "low": low, "high": high},
        "uar": with_interval(uar, truth, predicted),
        "f1": with_interval(macro_f1, truth, predicted),
        "ece": calibration_error(predictions.probabilities, truth),
        "brier": brier_score(predictions.probabilities, truth),
        "nll": log_loss(predictions.probabilities, truth),
        "per_class": {label: _of_class(counts, index) for index, label in enumerate(labels)},
        "confusion": counts.tolist(),
        "text": _text(predictions, truth, labels),
        "groups": _groups(samples, truth, predicted),
    }


def against(reference: Predictions, predictions: Predictions, samples: Sequence[BenchSample]) -> dict[str, Any]:
    """Return ``against_reference`` of a row: both read the same samples."""
    truth = truth_of(samples)
    evidence = label_evidence(reference.probabilities, predictions.probabilities, truth.tolist())
    before, after = (one.probabilities.argmax(-1) == truth for one in (reference, predictions))
    return {
        "agreement": _interval(evidence, "label_agreement"),
        "delta_uar": _interval(evidence, "uar_delta"),
        "mcnemar": {
            "p": evidence["mcnemar_p"],
            "only_reference": int((before & ~after).sum()),
            "only_this": int((after & ~before).sum()),
        },
        "kl_mean": evidence["kl_mean"],
        "kl_p95": evidence["kl_p95"],
        "values": {
            name: _value_distance(own, predictions.values[name])
            for name, own in reference.values.items()
            if name in predictions.values
        },
    }


def _value_distance(reference: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float]:
    errors = np.abs(reference - other)
    return {"mean_error": float(errors.mean()), "max_error": float(errors.max())}


def gate_of(
    profile: str, reference: Predictions, predictions: Predictions, samples: Sequence[BenchSample]
) -> dict[str, Any]:
    """Check a profile against the gate that ``emo-edge calibrate`` has for its name, on these samples."""
    gate = profile_gate(profile)
    failures = gate.failures(
        label_evidence(reference.probabilities, predictions.probabilities, truth_of(samples).tolist())
    )
    if failures:
        return {"passed": False, "text": f"{gate}: {'; '.join(failures)}"}
    few = _too_few(gate, len(samples))
    return {"passed": True, "text": f"{gate}: passed, too few samples to show it" if few else str(gate)}


def _too_few(gate: Gate, count: int) -> bool:
    """Return True if even agreement on all of so many samples has an interval that exceeds the gate's bound."""
    required = [bound.value for bound in gate.bounds if bound.word == "agreement"]
    return wilson_interval(1.0, count)[0] < max(required, default=0.0)


def truth_of(samples: Sequence[BenchSample]) -> Ids:
    """Label index of every sample, int64 [N]."""
    return np.array([sample.truth for sample in samples], np.int64)


def with_interval(figure: Figure, truth: Ids, predicted: Ids) -> dict[str, float | None]:
    """Compute a figure and its 95 % percentile interval over resampled samples; none where all draws are equal."""
    values = resampled(lambda draw: figure(truth[draw], predicted[draw]), len(truth))
    low, high = percentile_interval(values) if values.min() < values.max() else (None, None)
    return {"value": figure(truth, predicted), "low": low, "high": high}


def _interval(evidence: dict[str, float], name: str) -> dict[str, float]:
    return {end or "value": evidence[f"{name}_{end}" if end else name] for end in ("", "low", "high")}


def _of_class(counts: NDArray[np.int64], index: int) -> dict[str, float | int | None]:
    """Recall of a class without samples, and precision of one that is never predicted, are None."""
    hits, support, predicted = int(counts[index, index]), int(counts[index].sum()), int(counts[:, index].sum())
    return {
        "recall": hits / support if support else None,
        "precision": hits / predicted if predicted else None,
        "f1": 2 * hits / (support + predicted) if support else None,
        "support": support,
    }


def _text(predictions: Predictions, truth: Ids, labels: Sequence[str]) -> dict[str, Any] | None:
    """Score the free-text answers by the label they name; one that names none is wrong."""
    answered = [index for index, answer in enumerate(predictions.answers) if answer is not None]
    if not answered:
        return None
    named = [named_label(str(predictions.answers[index]), labels) for index in answered]
    predicted = np.array([NOT_NAMED if one is None else one for one in named], np.int64)
    scored = predictions.probabilities[answered].argmax(-1)
    return {
        "war": war(truth[answered], predicted),
        "uar": uar(truth[answered], predicted),
        "named": float((predicted != NOT_NAMED).mean()),
        "samples": len(answered),
        "war_scored": war(truth[answered], scored),
        "same_as_scored": float((predicted == scored).mean()),
    }


def _groups(samples: Sequence[BenchSample], truth: Ids, predicted: Ids) -> dict[str, Any]:
    """Compute accuracy by the data set's attributes of people; a sample without an attribute is in no group of it."""
    names = dict.fromkeys(name for sample in samples for name in sample.item.groups)
    table: dict[str, Any] = {}
    for name in names:
        values = np.array([sample.item.groups.get(name, "") for sample in samples])
        table[name] = {str(value): _group(truth, predicted, values == value) for value in np.unique(values) if value}
    return table


def _group(truth: Ids, predicted: Ids, members: NDArray[np.bool_]) -> dict[str, Any]:
    accuracy, count = war(truth[members], predicted[members]), int(members.sum())
    low, high = wilson_interval(accuracy, count)
    return {
        "samples": count,
        "war": accuracy,
        "war_low": low,
        "war_high": high,
        "uar": uar(truth[members], predicted[members]),
    }


def named_label(text: str, labels: Sequence[str]) -> int | None:
    """Return the index of the label that is named first, as a whole word or as its adjective; None where none is.

    At one position the longer name counts: "happily surprised" is not "surprised". Words are looked for, not
    understood: "not happy" names happiness.
    """
    names = {label.casefold(): index for index, label in enumerate(labels)}
    names |= {word: labels.index(label) for word, label in ADJECTIVES.items() if label in labels and word not in names}
    longest_first = sorted(names, key=len, reverse=True)
    match = re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", text.casefold())
    return names[match[0]] if match else None
