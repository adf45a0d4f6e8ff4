"""Filters of one face's labels over time, in seconds of its source: how sure the labels are after all readings.

`HiddenMarkov` is the forward recursion of a hidden Markov model in continuous time (Rabiner 1989, "A Tutorial on Hidden
Markov Models", III.A): a label stays for dt seconds with probability exp(-dt / tau), else it becomes any other one,
and a reading counts as the likelihood softmax ** alpha. `ExponentialAverage` is its simple rival.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.sections import LabelFilter

Floats = NDArray[np.float64]
LEAST = 1e-6
"""Least probability of a reading: a model that excludes a label may be wrong."""


class LabelTrack(Protocol):
    """The labels of one face; it belongs to one thread."""

    def add(self, probabilities: Floats, seconds: float) -> Floats:
        """Return the probabilities [labels] after one more reading of a frame at ``seconds``."""


class HiddenMarkov:
    """A hidden Markov model of one face."""

    def __init__(self, settings: LabelFilter) -> None:
        self._settings, self._belief = settings, np.zeros(0)
        self._last_s = 0.0

    def add(self, probabilities: Floats, seconds: float) -> Floats:
        """Return the probabilities [labels] after one more reading of a frame at ``seconds``."""
        labels, weight = len(probabilities), 1.0
        prior = np.full(labels, 1 / labels)
        if self._belief.size:
            passed_s = max(seconds - self._last_s, 0.0)
            stay = math.exp(-passed_s / self._settings.tau_s)
            prior = stay * self._belief + (1 - stay) * (1 - self._belief) / (labels - 1)
            # Frames that follow each other quickly show the same noise: they count by their time.
            weight = min(passed_s / self._settings.step_s, 1.0)
        logs = np.log(prior) + weight * self._settings.alpha * np.log(np.maximum(probabilities, LEAST))
        self._belief, self._last_s = _softmax(logs), max(seconds, self._last_s)
        return self._belief


class ExponentialAverage:
    """An exponential average of the sharpened readings of one face."""

    def __init__(self, settings: LabelFilter) -> None:
        self._settings, self._mean = settings, np.zeros(0)
        self._last_s = 0.0

    def add(self, probabilities: Floats, seconds: float) -> Floats:
        """Return the probabilities [labels] after one more reading of a frame at ``seconds``."""
        newest = _softmax(self._settings.alpha * np.log(np.maximum(probabilities, LEAST)))
        if not self._mean.size:
            self._mean = newest
        gain = 1 - math.exp(-max(seconds - self._last_s, 0.0) / self._settings.tau_s)
        self._mean, self._last_s = self._mean + gain * (newest - self._mean), max(seconds, self._last_s)
        return self._mean


def open_filter(settings: LabelFilter) -> LabelTrack:
    """Return a filter of a new face."""
    return HiddenMarkov(settings) if settings.method == "hidden_markov" else ExponentialAverage(settings)


def _softmax(logs: Floats) -> Floats:
    values = np.exp(logs - logs.max())
    return np.asarray(values / values.sum(), np.float64)
