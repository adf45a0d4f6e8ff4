"""Fit of temperature and prior correction on labelled samples, cross-validated.

Probabilities are those of a softmax of the scores over a temperature (Guo et al. 2017, "On Calibration of Modern
Neural Networks"). A model that was never tuned for the labels prefers some words whatever it sees; the scores of a
blank picture are that preference, and subtracting them is the prior correction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.manifest import Scoring
from emo_edge.errors import InputError
from emo_edge.inference.probability import softmax
from emo_edge.metrics.classification import paired_interval, war
from emo_edge.metrics.reliability import calibration_error, log_loss

FOLDS = 5
FEWEST = 50
"""Labelled samples below which a fit says nothing."""
TEMPERATURES = np.geomspace(0.1, 20, 161)
"""Tried, about 3.4 % apart."""
DELTA = "fit_war_delta"
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ScoringFit:
    """Chosen scoring, and what it does on samples that it was not fitted on."""

    scoring: Scoring
    evidence: dict[str, float]
    """``nll``, ``ece`` and ``war``, ``_before`` and ``_after``; ``after`` is of the held-out folds. ``fit_war_delta``
    is the accuracy's difference, ``_low`` and ``_high`` its 95 % interval."""
    refused: str = ""
    """A line on a prior correction of less log loss that was refused, because it loses accuracy."""

    @property
    def loses_accuracy(self) -> bool:
        """True if the whole interval of the accuracy's difference is below 0: more than chance explains."""
        return self.evidence[f"{DELTA}_high"] < 0

    def accuracy_text(self) -> str:
        """Return the accuracy's difference and its interval."""
        change, low, high = (self.evidence[f"{DELTA}{end}"] for end in ("", "_low", "_high"))
        return f"war {change:+.3f} ({low:+.3f} to {high:+.3f})"


def fitted_scoring(scores_of: Callable[[bool], Scores], truth: Sequence[int], before: Scoring) -> ScoringFit:
    """Choose temperature and prior correction by the log loss; a correction that loses accuracy is refused.

    Args:
        scores_of: returns the scores [N, labels] without or with prior correction.
        truth: index of each sample's label.
        before: the bundle's scoring so far.

    Raises InputError for too few samples.
    """
    labels = np.asarray(truth, np.int64)
    if len(labels) < FEWEST:
        raise InputError(f"{len(labels)} labelled samples: a fit of the scoring needs {FEWEST} at least")
    scores = {prior: scores_of(prior) for prior in (False, True)}
    fit = _fit(scores, scores, labels, before)
    if not fit.loses_accuracy:
        return fit
    # A temperature leaves the order of the labels, and so the accuracy, as it is.
    kept = {before.prior_correction: scores[before.prior_correction]}
    change = "off" if before.prior_correction else "on"
    refused = f"prior correction {change} is refused: its log loss is less, but {fit.accuracy_text()} on held-out folds"
    return replace(_fit(kept, scores, labels, before), refused=refused)


def _fit(tried: dict[bool, Scores], scores: dict[bool, Scores], labels: Ids, before: Scoring) -> ScoringFit:
    """Fit to the scores by prior correction that are tried, and compare with the scoring so far on held-out folds."""
    folds = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    held_out = np.zeros_like(scores[before.prior_correction])
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        chosen = _chosen({prior: values[inside] for prior, values in tried.items()}, labels[inside])
        held_out[outside] = softmax(scores[chosen.prior_correction][outside] / chosen.temperature)
    old = softmax(scores[before.prior_correction] / before.temperature)
    low, high = paired_interval(war, labels, old.argmax(-1), held_out.argmax(-1))
    figures = _figures(old, labels, "before") | _figures(held_out, labels, "after")
    change = {DELTA: figures["war_after"] - figures["war_before"], f"{DELTA}_low": low, f"{DELTA}_high": high}
    return ScoringFit(_chosen(tried, labels), figures | change)


def _chosen(scores: dict[bool, Scores], labels: Ids) -> Scoring:
    tried = [
        (log_loss(softmax(values / temperature), labels), float(temperature), prior)
        for prior, values in scores.items()
        for temperature in TEMPERATURES
    ]
    _, temperature, prior = min(tried)
    return Scoring(temperature=round(temperature, 4), prior_correction=prior)


def _figures(probabilities: Scores, labels: Ids, when: str) -> dict[str, float]:
    return {
        f"nll_{when}": log_loss(probabilities, labels),
        f"ece_{when}": calibration_error(probabilities, labels),
        f"war_{when}": war(labels, probabilities.argmax(-1)),
        "fit_samples": float(len(labels)),
    }
