"""A graph's cost on action units: how often its decision on a unit is full precision's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emo_edge.tensors import Tensor

UNIT_EVIDENCE = "action units"
"""Key of a graph's evidence on the decisions that follow from its action units."""
AU_AGREEMENT = "au_agreement"
"""Name in evidence of the share of decisions, a sample and a unit each, that stay."""


def unit_agreement(reference: Tensor, other: Tensor, thresholds: Sequence[float]) -> dict[str, float]:
    """Compare decisions on action units, from logits [N, U] both.

    Args:
        reference: of full precision.
        other: of the graph; a value that is not finite agrees with nothing.
        thresholds: probability from which each of the U units counts as active.

    Returns:
        ``au_agreement`` over all N x U decisions, ``au_agreement_worst`` of the unit that agrees least, and
        ``samples``, N.
    """
    bounds = np.asarray(thresholds, np.float64)
    limit = np.log(bounds / (1 - bounds))
    same = ((reference >= limit) == (other >= limit)) & np.isfinite(other)
    return {
        AU_AGREEMENT: float(same.mean()),
        f"{AU_AGREEMENT}_worst": float(same.mean(0).min()),
        "samples": float(len(reference)),
    }
