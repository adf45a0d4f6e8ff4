"""One training: a head of action units on features that stay as they are, or on crops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emo_edge.export.models.action_units.losses import dice_loss, mdwa_loss, unit_weights, weighted_bce_loss

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "bce": lambda logits, active, weights: weighted_bce_loss(logits, active, torch.ones_like(weights)),
    "weighted": weighted_bce_loss,
    "mdwa": mdwa_loss,
    "mdwa+wdi": lambda logits, active, weights: mdwa_loss(logits, active, weights) + dice_loss(logits, active, weights),
}
WARM_UP = 50
"""Steps until the full rate."""


@dataclass(frozen=True)
class Budget:
    """Length and pace of a training."""

    epochs: int = 6
    batch: int = 100
    rate: float = 2e-3
    loss: str = "mdwa+wdi"
    intensity: float = 0.1
    """Weight of the squared error of intensities."""
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A head's logits on the test drawings."""

    logits: NDArray[np.float32]
    """[N, U]."""
    intensities: NDArray[np.float32] | None
    """[N, U] from 0 to 5."""
    parameters: int
    """Of what was trained."""
    seconds: float


Forward = Callable[[Any, Sequence[Tensor]], tuple[Tensor, Tensor | None, Tensor | None]]
"""Computes logits, intensities and logits of experts of a batch of features."""


def train(
    head: nn.Module,
    forward: Forward,
    inputs: tuple[Sequence[Tensor], Sequence[Tensor]],
    active: Tensor,
    intensities: Tensor,
    budget: Budget,
) -> Trained:
    """Train a head and compute the test drawings.

    Args:
        head: weights that learn; those without a gradient stay.
        forward: of the head.
        inputs: features of the training drawings, and of the test drawings; the first axis is the drawing.
        active: float32 [N, U] of the training drawings.
        intensities: float32 [N, U] of the training drawings.
        budget: length and pace.
    """
    torch.manual_seed(budget.seed)
    learning = [part for part in head.parameters() if part.requires_grad]
    optimiser = torch.optim.AdamW(learning, budget.rate, weight_decay=0.01)
    weights, loss_of = unit_weights(active.mean(0).clamp(min=1e-3)), LOSSES[budget.loss]
    given, test = inputs
    steps = budget.epochs * math.ceil(len(active) / budget.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    started = time.perf_counter()
    head.train()
    for _ in range(budget.epochs):
        for rows in _batches(torch.randperm(len(active)), budget.batch):
            logits, levels, experts = forward(head, [part[rows].float() for part in given])
            loss = loss_of(logits, active[rows], weights)
            if experts is not None:
                loss = loss + mdwa_loss(experts, active[rows], weights)
            if levels is not None:
                loss = loss + budget.intensity * (levels - intensities[rows]).square().mean()
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    seconds = time.perf_counter() - started
    computed, intensity = _computed(head.eval(), forward, test)
    return Trained(computed, intensity, sum(part.numel() for part in learning), seconds)


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def _batches(rows: Tensor, size: int) -> list[Tensor]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@torch.inference_mode()
def _computed(
    head: nn.Module, forward: Forward, test: Sequence[Tensor]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    logits, levels = [], []
    for rows in _batches(torch.arange(len(test[0])), 100):
        outputs, intensity, _ = forward(head, [part[rows].float() for part in test])
        logits.append(outputs.numpy())
        if intensity is not None:
            levels.append(intensity.numpy())
    return np.concatenate(logits), np.concatenate(levels) if levels else None
