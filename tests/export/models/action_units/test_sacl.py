"""SACL-AU against numpy written from its description; its ONNX graph against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from emo_edge.export.configs.action_units import SaclConfig
from emo_edge.export.configs.networks import FaceConfig
from emo_edge.export.models.action_units.sacl import STAGES, Sacl
from tests.export.models.action_units.spec import Array, State, gelu, sigmoid, softmax

FACE = FaceConfig(
    image_size=64, embed_dim=4, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4, decoder_dim=16,
    decoder_depth=1, decoder_heads=2,
)  # fmt: skip
UNITS = (1, 4, 12, 25, 26)
WIDTH = 8


def random_model(**changes: Any) -> Sacl:
    config = SaclConfig(**{"units": UNITS, "intensity": True, "hidden_size": WIDTH, "neighbours": 2} | changes)
    torch.manual_seed(0)
    model = Sacl(config, FACE).eval().requires_grad_(False)
    for part in model.parameters():
        part += 0.3 * torch.randn_like(part)
    return model


def random_stages(count: int = 2) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(count, 4 << stage, 16 >> stage, 16 >> stage, generator=draw) for stage in range(4)]


def expected(model: Sacl, stages: list[Array]) -> tuple[Array, Array]:
    """Compute one face's presence and intensity."""
    state, config = State(model.state_dict()), model.config
    graph = state["graph"] if config.graph != "none" else None
    levels = []
    for place, stage in enumerate(STAGES):
        features = gelu(state.conv(f"narrow.{place}", stages[stage]))
        if config.multi_scale:
            branches = [
                gelu(state.conv(f"scales.{place}.branches.{branch}", features, dilation))
                for branch, dilation in enumerate(config.dilations)
            ]
            features = features + state.conv(f"scales.{place}.fuse", np.concatenate(branches))
        cells = features.reshape(WIDTH, -1).T
        scores = state[f"nodes.{place}.queries"] @ (cells + state[f"nodes.{place}.position"]).T / np.sqrt(WIDTH)
        nodes = gelu(state.linear(f"nodes.{place}.out", softmax(scores) @ cells))
        if graph is not None:
            if config.graph == "self_adjusting":
                weight = sigmoid(state[f"steps.{place}.mix"])
                queries, keys = (state.linear(f"steps.{place}.{name}", nodes) for name in ("query", "key"))
                graph = (1 - weight) * graph + weight * (queries @ keys.T / np.sqrt(WIDTH))
            edges = np.zeros_like(graph)
            for row in range(len(UNITS)):
                kept = np.argsort(-graph[row])[: config.neighbours]
                edges[row, kept] = softmax(graph[row, kept])
            nodes = state.norm(f"steps.{place}.norm", nodes + state.linear(f"steps.{place}.message", edges @ nodes))
        levels.append(nodes)
    joined = np.concatenate(levels, axis=1)
    presence, intensity = ((joined * state[f"{name}.weight"]).sum(1) + state[f"{name}.bias"] for name in HEADS)
    return presence, 5 * sigmoid(intensity)


HEADS = ("presence", "intensity")


@pytest.mark.parametrize(
    "changes", [{}, {"graph": "fixed"}, {"graph": "none"}, {"multi_scale": False}, {"neighbours": 5}], ids=str
)
def test_outputs_are_those_of_the_description(changes: dict[str, Any]) -> None:
    model, stages = random_model(**changes), random_stages()
    outputs = model(stages)
    assert outputs.intensity is not None
    for face in range(2):
        presence, intensity = expected(model, [stage[face].numpy().astype(np.float64) for stage in stages])
        np.testing.assert_allclose(outputs.presence[face], presence, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(outputs.intensity[face], intensity, atol=1e-4, rtol=1e-4)


def test_without_intensity_there_is_none() -> None:
    model = random_model(intensity=False)
    assert model(random_stages()).intensity is None
    assert not [name for name in model.state_dict() if "intensity" in name]


def test_every_weight_learns() -> None:
    model = random_model().requires_grad_(True)
    outputs = model(random_stages())
    assert outputs.intensity is not None
    (outputs.presence.square().sum() + outputs.intensity.sum()).backward()
    assert not [name for name, part in model.named_parameters() if part.grad is None or not part.grad.abs().sum()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": ()}, "at least 1 item"),
        ({"units": (1, 4, 1)}, "units name one unit twice"),
        ({"units": (1, 8, 99)}, "units 8, 99 are none of FACS"),
        ({"thresholds": (0.5,)}, "thresholds has 1 numbers for 5 units"),
        ({"thresholds": (0.5, 0.5, 1.0, 0.5, 0.5)}, "less than 1"),
        ({"hidden_size": 10}, "hidden_size must be a multiple of 4"),
        ({"neighbours": 6}, "neighbours must not exceed the number of units"),
        ({"experts": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_config_that_cannot_be_is_one_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SaclConfig(**{"units": UNITS} | changes)
