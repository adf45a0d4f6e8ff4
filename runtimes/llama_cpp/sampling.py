"""What logits say of the next token: its distribution, and the choice of one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.base.sessions import Sampling


def choose(logits: NDArray[np.float32], sampling: Sampling, random: np.random.Generator) -> int:
    """Pick the next token: the likeliest, or one of the likeliest that together reach ``top_p``."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")
    with np.errstate(over="ignore"):  # a temperature near 0 is greedy
        share = np.exp((logits[order].astype(np.float64) - logits.max()) / sampling.temperature).cumsum()
    last = int(np.searchsorted(share, sampling.top_p * share[-1]))
    return int(order[np.searchsorted(share[:last], random.random() * share[last], side="right")])


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities [V] of logits [V], in double precision."""
    shifted = logits.astype(np.float64) - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
