"""AUFormer against numpy written from its description; the folded side path against the literal one; its ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from emo_edge.export.configs.action_units import AuFormerConfig
from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.action_units.auformer import AuFormer, FoldedAuFormer
from tests.export.models.action_units.spec import Array, State, gelu, sigmoid, softmax

UNITS = (1, 4, 12)
SIZE, WIDTH, GRID, HEADS, LAYERS = 2, 16, 4, 2, 2
TOWER = VisionConfig(
    image_size=28, patch_size=7, hidden_size=WIDTH, num_layers=LAYERS, num_heads=HEADS, mlp_size=24
)  # fmt: skip


def random_model(**changes: Any) -> AuFormer:
    given = {"units": UNITS, "intensity": True, "tower": TOWER, "image_size": 28, "expert_size": SIZE}
    torch.manual_seed(0)
    model = AuFormer(AuFormerConfig(**given | changes)).eval().requires_grad_(False)
    for part in model.parameters():
        part += 0.2 * torch.randn_like(part)
    return model


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))


def windows_of(cells: Array, row: int, column: int) -> list[Array]:
    """Return the nine neighbours of a cell of [C, h, w], zeros outside."""
    places = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    inside = [0 <= y < GRID and 0 <= x < GRID for y, x in places]
    return [cells[:, y, x] if there else np.zeros(len(cells)) for (y, x), there in zip(places, inside, strict=True)]


def expert(state: State, place: int, unit: int, inputs: Array, config: AuFormerConfig) -> Array:
    """Compute one expert of one place, [P, D] to [P, D], as a network of its own."""
    name = f"experts.{place}"
    own = slice(unit * SIZE, (unit + 1) * SIZE)

    def conv(part: str, x: Array, dilation: int = 1, rows: slice = own) -> Array:
        weights = {f"{key}": state[f"{name}.core.{part}.{key}"][rows] for key in ("weight", "bias")}
        return State({f"one.{key}": value for key, value in weights.items()}).conv("one", x, dilation)

    down = gelu(inputs @ state[f"{name}.down"][unit] + state[f"{name}.down_bias"][unit])
    middle = conv("conv", down.T.reshape(SIZE, GRID, GRID))
    total = middle.copy()
    if config.multi_receptive:
        total += sum(conv(f"fields.{place}", middle, one) for place, one in enumerate(config.dilations))
    if config.context_aware:
        query, key, value = np.split(conv("context", middle, rows=slice(3 * unit * SIZE, 3 * (unit + 1) * SIZE)), 3)
        for row in range(GRID):
            for column in range(GRID):
                weights = softmax(query[:, row, column] * np.array(windows_of(key, row, column)), axis=0)
                total[:, row, column] += (weights * np.array(windows_of(value, row, column))).sum(0)
    return gelu(total).reshape(SIZE, -1).T @ state[f"{name}.up"][unit] + state[f"{name}.up_bias"][unit]


def attention(state: State, name: str, x: Array) -> Array:
    bias = np.concatenate([state[f"{name}.q_bias"], np.zeros(WIDTH), state[f"{name}.v_bias"]])
    queries, keys, values = np.split(x @ state[f"{name}.qkv.weight"].T + bias, 3, axis=1)
    size = WIDTH // HEADS
    heads = []
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        heads.append(softmax(queries[:, own] @ keys[:, own].T / np.sqrt(size)) @ values[:, own])
    return state.linear(f"{name}.proj", np.concatenate(heads, axis=1))


def expected(model: AuFormer, pixels: Array) -> tuple[Array, Array, Array]:
    """Compute one picture's presence, intensity and the logits of the experts."""
    state = State(model.state_dict())
    weight, bias = state["tower.patch_embed.proj.weight"], state["tower.patch_embed.proj.bias"]
    patches = [
        (weight * pixels[None, :, row : row + 7, column : column + 7]).sum((1, 2, 3)) + bias
        for row in range(0, 28, 7)
        for column in range(0, 28, 7)
    ]
    x = np.concatenate([state["tower.cls_token"][0], patches]) + state["tower.pos_embed"][0]
    states = [np.zeros((GRID * GRID, WIDTH)) for _ in UNITS]
    for layer in range(LAYERS):
        block = f"tower.blocks.{layer}"
        for part, norm in enumerate(("norm1", "norm2")):
            normal = state.norm(f"{block}.{norm}", x, TOWER.layer_norm_eps)
            states = [
                expert(state, 2 * layer + part, unit, normal[1:] + states[unit], model.config)
                for unit in range(len(UNITS))
            ]
            if part == 0:
                own = attention(state, f"{block}.attn", normal)
            else:
                own = state.linear(f"{block}.mlp.fc2", gelu(state.linear(f"{block}.mlp.fc1", normal)))
            x = x + own
            x[1:] += sum(states) / len(UNITS)
    pooled = state.norm("norm", np.concatenate([x[0], x[1:].mean(0)]))
    experts = [
        states[unit].mean(0) @ state["expert_head"][unit] + state["expert_bias"][unit] for unit in range(len(UNITS))
    ]
    return state.linear("presence", pooled), 5 * sigmoid(state.linear("intensity", pooled)), np.array(experts)


@pytest.mark.parametrize(
    "changes",
    [{}, {"multi_receptive": False}, {"context_aware": False}, {"dilations": (1, 2, 4)}],
    ids=str,
)
def test_outputs_are_those_of_the_description(changes: dict[str, Any], pixels: torch.Tensor) -> None:
    model = random_model(**changes)
    outputs, (_, states) = model(pixels), model.features(pixels)
    experts = (states.mean(2) * model.expert_head).sum(-1) + model.expert_bias
    folded, narrow = FoldedAuFormer(model).eval().with_experts(pixels)
    assert outputs.intensity is not None and folded.intensity is not None
    presence, intensity, single = expected(model, pixels[0].numpy().astype(np.float64))
    np.testing.assert_allclose(outputs.presence[0], presence, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(outputs.intensity[0], intensity, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(experts[0], single, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(folded.presence, outputs.presence, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(folded.intensity, outputs.intensity, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(narrow, experts, atol=1e-5, rtol=1e-5)


def test_the_folded_network_has_the_gradients_of_the_literal_one(pixels: torch.Tensor) -> None:
    model = random_model()
    gradients = []
    for folded in (False, True):
        for name, part in model.named_parameters():
            part.requires_grad_(not name.startswith("tower.")).grad = None
        outputs = FoldedAuFormer(model)(pixels) if folded else model(pixels)
        assert outputs.intensity is not None
        (outputs.presence.square().sum() + outputs.intensity.sum()).backward()
        gradients.append({name: part.grad for name, part in model.named_parameters() if part.grad is not None})
    literal, narrow = gradients
    assert literal.keys() == narrow.keys() > {"experts.0.up", "experts.3.down"}
    for name, gradient in literal.items():
        torch.testing.assert_close(narrow[name], gradient, atol=1e-5 * max(float(gradient.abs().max()), 1), rtol=0)


def test_only_what_is_not_the_tower_learns(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = AuFormer(AuFormerConfig(units=UNITS, intensity=True, tower=TOWER, image_size=28, expert_size=SIZE))
    outputs, experts = model.with_experts(pixels)
    assert outputs.intensity is not None
    (outputs.presence.square().sum() + outputs.intensity.sum() + experts.square().sum()).backward()
    without = {name for name, part in model.named_parameters() if part.grad is None or not part.grad.abs().sum()}
    assert without == {name for name, _ in model.named_parameters() if name.startswith("tower.")}


def test_training_begins_near_the_tower_itself(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = AuFormer(AuFormerConfig(units=UNITS, tower=TOWER, image_size=28, expert_size=SIZE)).eval()
    tokens, _ = model.features(pixels)
    torch.testing.assert_close(tokens, model.tower(pixels), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 56}, "image_size must be that of the tower"),
        ({"expert_size": 0}, "greater than or equal to 1"),
        ({"tower": VisionConfig(tower="clip", image_size=28, patch_size=7)}, "tower.tower must be eva"),
    ],
)
def test_a_config_that_cannot_be_is_one_error(changes: dict[str, Any], message: str) -> None:
    given = {"units": UNITS, "tower": TOWER, "image_size": 28}
    with pytest.raises(ValidationError, match=message):
        AuFormerConfig(**given | changes)
