"""Losses of action units against their formulas, worked out number by number."""

from __future__ import annotations

import math

import pytest
import torch

from emo_edge.export.models.action_units.losses import dice_loss, mdwa_loss, unit_weights, weighted_bce_loss

LOGITS = [[2.0, -3.5], [-0.4, 0.7]]
ACTIVE = [[1.0, 0.0], [0.0, 1.0]]


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor(LOGITS, dtype=torch.float64), torch.tensor(ACTIVE), torch.tensor([0.5, 1.5])


def test_weights_are_inverse_to_the_occurrence_and_have_mean_one() -> None:
    weights = unit_weights(torch.tensor([0.1, 0.2, 0.4]))
    assert weights.tolist() == pytest.approx([12 / 7, 6 / 7, 3 / 7])


@pytest.mark.parametrize(("margin", "gamma"), [(0.05, 1.0), (0.1, 2.0), (0.0, 0.0)])
def test_mdwa_is_its_formula(margin: float, gamma: float) -> None:
    logits, active, weights = tensors()
    total = 0.0
    for row in range(2):
        for unit in range(2):
            p = 1 / (1 + math.exp(-LOGITS[row][unit]))
            q = max(p - margin, 0)
            y = ACTIVE[row][unit]
            term = y * math.log(p) + (1 - y) * q**gamma * math.log(1 - q)
            total -= (0.5, 1.5)[unit] * term / 4
    assert mdwa_loss(logits, active, weights, margin=margin, gamma=gamma).item() == pytest.approx(total, rel=1e-6)


def test_an_easy_negative_costs_nothing_and_a_hard_one_is_cheap() -> None:
    _, _, weights = tensors()
    easy, hard = torch.full((1, 2), -4.0, requires_grad=True), torch.tensor([[1.0, 1.0]])
    loss = mdwa_loss(easy, torch.zeros(1, 2), weights)
    loss.backward()
    assert loss.item() == 0 and easy.grad is not None and not easy.grad.abs().sum()
    assert mdwa_loss(hard, torch.zeros(1, 2), weights) < weighted_bce_loss(hard, torch.zeros(1, 2), weights)


def test_the_gradient_goes_through_the_truncated_probability() -> None:
    logit = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    mdwa_loss(logit, torch.zeros(1, 1), torch.ones(1)).backward()
    step = 1e-6
    above, below = (mdwa_loss(logit.detach() + sign * step, torch.zeros(1, 1), torch.ones(1)) for sign in (1, -1))
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx((above - below).item() / (2 * step), rel=1e-5)


def test_bce_and_dice_are_their_formulas() -> None:
    logits, active, weights = tensors()
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, active.double(), weights.double())
    assert weighted_bce_loss(logits, active, weights).item() == pytest.approx(bce.item(), rel=1e-6)
    total = 0.0
    for row in range(2):
        for unit in range(2):
            p, y = 1 / (1 + math.exp(-LOGITS[row][unit])), ACTIVE[row][unit]
            total += (0.5, 1.5)[unit] * (1 - (2 * y * p + 1) / (y * y + p * p + 1)) / 4
    assert dice_loss(logits, active, weights).item() == pytest.approx(total, rel=1e-6)
