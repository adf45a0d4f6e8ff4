"""MobileVLM's projectors against the operations of its code, written with torch's functions and upstream's names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as fn

from emo_edge.export.configs.networks import ConnectorConfig, VisionConfig
from emo_edge.export.models.connector import ContentConnector

GRID, WIDTH, HIDDEN = 24, 16, 40
State = dict[str, Tensor]


def projector(kind: str) -> ContentConnector:
    vision = VisionConfig(tower="clip", image_size=14 * GRID, hidden_size=WIDTH, num_layers=1, num_heads=1, mlp_size=8)
    config = ConnectorConfig(compress_type="none", qformer=None, projector_type=kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = ContentConnector(config, vision, HIDDEN).eval()
        for value in module.parameters():
            torch.nn.init.normal_(value, std=0.3)
    return module


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return fn.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def layer_norm(x: Tensor, state: State, name: str) -> Tensor:
    """timm's LayerNormAct2d: over the channels, epsilon 1e-5."""
    rows = fn.layer_norm(x.permute(0, 2, 3, 1), (HIDDEN,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)
    return rows.permute(0, 3, 1, 2)


def inverted_residual(x: Tensor, state: State, name: str, stride: int) -> Tensor:
    """torchvision's MobileNetV3 block without expansion, with squeeze and excitation and hard swish."""
    depthwise = fn.conv2d(x, state[f"{name}.block.0.0.weight"], stride=stride, padding=1, groups=HIDDEN)
    active = fn.hardswish(layer_norm(depthwise, state, f"{name}.block.0.1"))
    pooled = fn.adaptive_avg_pool2d(active, 1)
    inner = fn.relu(fn.conv2d(pooled, state[f"{name}.block.1.fc1.weight"], state[f"{name}.block.1.fc1.bias"]))
    scale = fn.hardsigmoid(fn.conv2d(inner, state[f"{name}.block.1.fc2.weight"], state[f"{name}.block.1.fc2.bias"]))
    out = layer_norm(fn.conv2d(scale * active, state[f"{name}.block.2.0.weight"]), state, f"{name}.block.2.1")
    return out + x if stride == 1 else out


def ldp(patches: Tensor, state: State) -> Tensor:
    x = linear(fn.gelu(linear(patches, state, "model.mlp.1")), state, "model.mlp.3")
    places = x.permute(0, 2, 1).reshape(len(x), -1, GRID, GRID)
    places = inverted_residual(places, state, "model.mb_block.1", 1)
    places = inverted_residual(places, state, "model.mb_block.2", 2)
    return places.flatten(2).permute(0, 2, 1)


def ldp_v2(patches: Tensor, state: State) -> Tensor:
    x = linear(fn.gelu(linear(patches, state, "mlp.mlp.0")), state, "mlp.mlp.2")
    places = fn.adaptive_avg_pool2d(x.permute(0, 2, 1).reshape(len(x), -1, GRID, GRID), (12, 12))
    weight, bias = state["peg.peg.0.weight"], state["peg.peg.0.bias"]
    placed = fn.conv2d(places, weight, bias, padding=1, groups=HIDDEN) + places
    return placed.flatten(2).transpose(1, 2)


@torch.inference_mode()
@pytest.mark.parametrize(("kind", "expected"), [("ldpnet", ldp), ("ldpnetv2", ldp_v2)])
def test_it_computes_upstreams_operations(kind: str, expected: Callable[[Tensor, State], Tensor]) -> None:
    module = projector(kind)
    prefix = "mm_projector."
    state = {name.removeprefix(prefix): value for name, value in module.state_dict().items()}
    assert all(name.startswith(prefix) for name in module.state_dict())
    features = torch.randn(3, 1 + GRID * GRID, WIDTH, generator=torch.Generator().manual_seed(1))
    wanted = expected(features[:, 1:], state)
    given = module(features)
    assert given.shape == (3, 144, HIDDEN)
    assert (given - wanted).abs().max() <= 1e-4
