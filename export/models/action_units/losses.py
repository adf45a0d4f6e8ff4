"""Losses of action-unit detection: weighted asymmetric, with a margin and truncation (MDWA), and weighted Dice (WDI).

AUFormer (Yuan et al., ECCV 2024). Its code was never published: margin and exponent are those that fit the curve in the
paper's figure, the weights are those of ME-GraphAU.
"""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN = 0.05
"""Probability below which a negative costs nothing."""
GAMMA = 1.0
"""Exponent of a negative's own probability, which makes easy ones cheap."""
EPSILON = 1e-8


def unit_weights(occurrence: Tensor) -> Tensor:
    """Return the weight of each unit, rarer ones more: U (1 / r) / sum(1 / r), of occurrence rates r [U] above 0."""
    inverse = 1 / occurrence
    return occurrence.numel() * inverse / inverse.sum()


def mdwa_loss(
    logits: Tensor, active: Tensor, weights: Tensor, *, margin: float = MARGIN, gamma: float | Tensor = GAMMA
) -> Tensor:
    """Return the margin-truncated, difficulty-aware, weighted, asymmetric loss, a scalar.

    -(1 / NU) sum w [y log p + (1 - y) q^gamma log(1 - q)], q = max(p - margin, 0). The gradient goes through q^gamma.

    Args:
        logits: [N, U].
        active: [N, U], 1 for a unit that is there, 0 for one that is not.
        weights: [U], as `unit_weights` gives them.
        margin: probability below which a negative costs nothing.
        gamma: exponent of all units, or [U].
    """
    probability = logits.sigmoid()
    truncated = (probability - margin).clamp(min=0)
    positive = active * probability.clamp(min=EPSILON).log()
    # The power of exactly 0 has no gradient for exponents below 1.
    focus = truncated.clamp(min=EPSILON).pow(gamma) * (truncated > 0)
    negative = (1 - active) * focus * (1 - truncated).clamp(min=EPSILON).log()
    return -(weights * (positive + negative)).mean()


def weighted_bce_loss(logits: Tensor, active: Tensor, weights: Tensor) -> Tensor:
    """Return the binary cross-entropy with a weight a unit: `mdwa_loss` without margin and exponent."""
    return mdwa_loss(logits, active, weights, margin=0.0, gamma=0.0)


def dice_loss(logits: Tensor, active: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted Dice loss, mean over [N, U] of w (1 - (2 y p + 1) / (y^2 + p^2 + 1)), a scalar."""
    probability = logits.sigmoid()
    overlap = (2 * active * probability + 1) / (active.square() + probability.square() + 1)
    return torch.mean(weights * (1 - overlap))
