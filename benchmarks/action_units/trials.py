"""The heads that are trained and compared, each from one description."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emo_edge.benchmarks.action_units.features import Drawings, LinearHead, tower_tokens, trunk_stages
from emo_edge.benchmarks.action_units.scores import f1_interval, gain_interval, mean_f1, unit_f1
from emo_edge.benchmarks.action_units.training import Budget, Trained, train
from emo_edge.export.configs.action_units import BP4D_UNITS, DISFA_UNITS, AuFormerConfig, SaclConfig
from emo_edge.export.models.action_units.auformer import AuFormer
from emo_edge.export.models.action_units.sacl import Sacl
from emo_edge.export.reference.frames import normalised_pixels
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.metrics.value_agreement import icc_3_1
from emo_edge.taxonomy import ACTION_UNITS

TRUNK, TOWER = "linear head on the face trunk", "linear head on the vision tower"
SACL_FORMS: dict[str, dict[str, Any]] = {
    "SACL on the face trunk": {},
    "SACL, one graph for all pictures": {"graph": "fixed"},
    "SACL without the graph": {"graph": "none"},
    "SACL without several scales": {"multi_scale": False},
}
WITHOUT_OWN_LOSS = "AUFormer without the experts' own loss"
AUFORMER_FORMS: dict[str, dict[str, Any]] = {
    "AUFormer on the vision tower": {},
    "AUFormer without receptive fields": {"multi_receptive": False},
    "AUFormer without context": {"context_aware": False},
    WITHOUT_OWN_LOSS: {},
}
EXPERT_SIZE = 4
LONG = 40
"""Epochs after which a linear head no longer gains."""
MISSING = (0.0, 0.1, 0.3)
"""Of the active units that count as inactive in training."""
FEW = 300


@dataclass(frozen=True)
class Scores:
    """F1 of one trained head on the test drawings, in fractions of one."""

    name: str
    seed: int
    f1: float
    low: float
    high: float
    """Ends of the 95 % bootstrap interval."""
    disfa: float
    bp4d: float
    by_unit: dict[str, float]
    gain: float | None
    """Beside the plain head on the same features; None for itself."""
    gain_low: float | None
    gain_high: float | None
    icc: float | None
    """Mean ICC(3,1) of the intensities over the units."""
    mae: float | None
    """Mean error of the intensities, 0 to 5."""
    parameters: int
    seconds: float


class Study:
    """Drawings, the features that frozen networks compute of them, and the plain heads above those."""

    def __init__(self, model: EmoLlamaForConditionalGeneration, train_set: Drawings, test_set: Drawings) -> None:
        self._model, self._train, self._test = model.requires_grad_(False), train_set, test_set
        self._truth = test_set.active.numpy().astype(bool)
        self._plain: dict[tuple[str, int], Trained] = {}
        self._stages = trunk_stages(model, train_set), trunk_stages(model, test_set)
        self._tokens = [tower_tokens(model, train_set)], [tower_tokens(model, test_set)]
        self._pooled = tuple([torch.cat([part.mean((2, 3)) for part in stages], dim=1)] for stages in self._stages)

    def plain(self, seed: int) -> Iterator[Scores]:
        """Train the linear heads on both networks."""
        for name in (TRUNK, TOWER):
            yield self._scored(name, seed, self._linear(name, seed), None)

    def sacl(self, name: str, seed: int, budget: Budget) -> Scores:
        """Train one form of SACL."""
        config = SaclConfig(units=ACTION_UNITS, intensity=True, **SACL_FORMS[name])
        assert self._model.config.face is not None
        torch.manual_seed(seed)
        trained = self._fit(Sacl(config, self._model.config.face), _sacl_forward, self._stages, budget, seed)
        return self._scored(name, seed, trained, TRUNK)

    def auformer(self, name: str, seed: int, budget: Budget) -> Scores:
        """Train one form of AUFormer on the tower as it is."""
        tower = self._model.config.vision
        config = AuFormerConfig(
            units=ACTION_UNITS, intensity=True, tower=tower, image_size=tower.image_size, expert_size=EXPERT_SIZE,
            **AUFORMER_FORMS[name],
        )  # fmt: skip
        torch.manual_seed(seed)
        network = AuFormer(config)
        network.tower.load_state_dict(self._model.vision.state_dict())

        def forward(head: AuFormer, given: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
            outputs, experts = head.with_experts(normalised_pixels(given[0], tower.image_mean, tower.image_std))
            return outputs.presence, outputs.intensity, None if name == WITHOUT_OWN_LOSS else experts

        crops = [torch.from_numpy(np.array(part.vision)) for part in (self._train, self._test)]
        return self._scored(name, seed, self._fit(network, forward, ([crops[0]], [crops[1]]), budget, seed), TOWER)

    def with_missing_labels(self, fraction: float, loss: str, seed: int) -> Scores:
        """Train the linear head on the trunk with some active units called inactive."""
        active = self._train.active
        draw = torch.Generator().manual_seed(1000 + seed)
        active = active * (torch.rand(active.shape, generator=draw) >= fraction)
        trained = self._linear(TRUNK, seed, Budget(epochs=LONG, loss=loss, seed=seed), active)
        return self._scored(f"{100 * fraction:.0f} % of the labels missing, {loss}", seed, trained, None)

    def of_few(self, name: str, seed: int, budget: Budget) -> Scores:
        """Train one form of SACL on the first `FEW` drawings alone, for as many steps."""
        few = Study.__new__(Study)
        vars(few).update(vars(self), _plain={})
        few._train = Drawings(self._train.vision[:FEW], self._train.face[:FEW], self._train.intensities[:FEW])
        few._stages = [part[:FEW] for part in self._stages[0]], self._stages[1]
        few._pooled = [self._pooled[0][0][:FEW]], self._pooled[1]
        epochs = budget.epochs * len(self._train) // FEW
        scores = few.sacl(name, seed, replace(budget, epochs=epochs))
        return replace(scores, name=f"{name}, {FEW} drawings")

    def _linear(self, name: str, seed: int, budget: Budget | None = None, active: Tensor | None = None) -> Trained:
        if budget is not None or (name, seed) not in self._plain:
            inputs = self._pooled if name == TRUNK else self._tokens
            torch.manual_seed(seed)
            head = LinearHead(inputs[0][0].shape[1], len(ACTION_UNITS))
            own = budget or Budget(epochs=LONG, seed=seed)
            trained = self._fit(head, _plain_forward, inputs, own, seed, active)
            if budget is not None:
                return trained
            self._plain[name, seed] = trained
        return self._plain[name, seed]

    def _fit(
        self, head: Any, forward: Any, inputs: Any, budget: Budget, seed: int, active: Tensor | None = None
    ) -> Trained:
        active = self._train.active if active is None else active
        return train(head, forward, inputs, active, self._train.intensities, replace(budget, seed=seed))

    def _scored(self, name: str, seed: int, trained: Trained, plain: str | None) -> Scores:
        predicted, truth = trained.logits > 0, self._truth
        gain: tuple[float | None, float | None, float | None] = (None, None, None)
        if plain is not None:
            baseline = self._linear(plain, seed).logits > 0
            difference = mean_f1(truth, predicted) - mean_f1(truth, baseline)
            gain = (difference, *gain_interval(truth, predicted, baseline))
        icc, mae = self._agreement(trained)
        by_unit = dict(zip((f"AU{unit}" for unit in ACTION_UNITS), unit_f1(truth, predicted).tolist(), strict=True))
        return Scores(
            name, seed, mean_f1(truth, predicted), *f1_interval(truth, predicted),
            mean_f1(truth, predicted, DISFA_UNITS), mean_f1(truth, predicted, BP4D_UNITS), by_unit, *gain, icc, mae,
            trained.parameters, trained.seconds,
        )  # fmt: skip

    def _agreement(self, trained: Trained) -> tuple[float | None, float | None]:
        if trained.intensities is None:
            return None, None
        truth = self._test.intensities.numpy().astype(np.float64)
        given = trained.intensities.astype(np.float64)
        icc = [icc_3_1(truth[:, unit], given[:, unit]) for unit in range(truth.shape[1])]
        return float(np.mean(icc)), float(np.abs(truth - given).mean())


def _sacl_forward(head: Sacl, given: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    outputs = head([given[0], *given])  # the first stage is not read
    return outputs.presence, outputs.intensity, None


def _plain_forward(head: LinearHead, given: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
    return head(given[0]), None, None
