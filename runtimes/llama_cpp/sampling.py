"""The next token from logits: its distribution, and the choice of one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.base.sessions import Sampling


def choose(logits: NDArray[np.float32], sampling: Sampling, random: np.random.Generator) -> int:
    """Choose the next token: the most probable, or one of the most probable that together reach ``top_p``."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")
    with np.errstate(over="ignore"):  # a temperature near 0 is greedy
        cumulated = np.exp((logits[order].astype(np.float64) - logits.max()) / sampling.temperature).cumsum()
    last = int(np.searchsorted(cumulated, sampling.top_p * cumulated[-1]))
    return int(order[np.searchsorted(cumulated[:last], random.random() * cumulated[last], side="right")])


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities [V] of logits [V], in double precision."""
    shifted = logits.astype(np.float64) - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
