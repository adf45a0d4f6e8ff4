"""What the probes of the two branches minimise, against the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emo_edge.benchmarks.emo_tiny.linear_probes import WEIGHTS, BranchProbes
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS

UNITS = len(ACTION_UNITS)


@pytest.fixture
def probes(toy_config: Any) -> BranchProbes:
    return BranchProbes(toy_config)


def visual_of(config: Any, *lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    size = (config.tokens_per_frame, config.language.hidden_size)
    return [torch.randn(length, *size, generator=generator).requires_grad_() for length in lengths]


def units_of(visual: list[torch.Tensor]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.random((len(each), UNITS), np.float32) for each in visual]


def test_at_the_start_both_branches_know_nothing(probes: BranchProbes, toy_config: Any) -> None:
    visual = visual_of(toy_config, 1, 3)
    found = probes.losses(visual, units_of(visual), EXPRESSIONS[:2])
    assert {name: float(loss.detach()) for name, loss in found.items()} == pytest.approx(
        {
            "vision units": 3 * np.log(2),
            "vision expression": 0.5 * np.log(len(EXPRESSIONS)),
            "face units": WEIGHTS["face"] * 3 * np.log(2),
            "face expression": WEIGHTS["face"] * 0.5 * np.log(len(EXPRESSIONS)),
        }
    )


def test_each_branch_answers_for_its_own_tokens(probes: BranchProbes, toy_config: Any) -> None:
    face = toy_config.face_info.num_tokens
    own = {"face": slice(-face, None), "vision": slice(0, -face)}
    for parameter in probes.heads.parameters():
        torch.nn.init.normal_(parameter)
    for branch, others in (("vision", own["face"]), ("face", own["vision"])):
        visual = visual_of(toy_config, 2)
        found = probes.losses(visual, units_of(visual), EXPRESSIONS[:1])
        (found[f"{branch} units"] + found[f"{branch} expression"]).backward()
        assert visual[0].grad is not None
        assert visual[0].grad[:, own[branch]].abs().min() > 0
        assert visual[0].grad[:, others].abs().max() == 0


def test_a_clip_has_one_expression_and_units_in_every_frame(probes: BranchProbes, toy_config: Any) -> None:
    for parameter in probes.heads.parameters():
        torch.nn.init.normal_(parameter)
    visual, expressions = visual_of(toy_config, 3, 1), [EXPRESSIONS[4], EXPRESSIONS[1]]
    units = units_of(visual)
    found = {name: loss.detach() for name, loss in probes.losses(visual, units, expressions).items()}
    face = toy_config.face_info.num_tokens
    seen = [probes.heads["face"](probes.norms["face"](each[:, -face:]).flatten(1)).detach().numpy() for each in visual]
    logits = np.stack([each[:, UNITS:].mean(0) for each in seen]).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    missed = -np.log([shares[0, 4], shares[1, 1]]).mean()
    assert float(found["face expression"]) == pytest.approx(WEIGHTS["face"] * 0.5 * missed, rel=1e-4)
    drawn = 1 / (1 + np.exp(-np.concatenate(seen)[:, :UNITS].astype(np.float64)))
    truth = np.concatenate(units)
    entropy = -(truth * np.log(drawn) + (1 - truth) * np.log(1 - drawn)).mean()
    assert float(found["face units"]) == pytest.approx(WEIGHTS["face"] * 3 * entropy, rel=1e-3)
