"""LLaMA-VID's token generation against numpy written from the context-attention equations."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from emo_edge.export.configs.networks import ConnectorConfig, QFormerConfig, VisionConfig
from emo_edge.export.models.connector import Connector, ContentConnector, build_connector

VISION = VisionConfig(image_size=56, patch_size=7, hidden_size=24, num_layers=1, num_heads=4, mlp_size=32)
QFORMER = QFormerConfig(vocab_size=50, hidden_size=16, num_layers=3, num_heads=4, mlp_size=32, num_queries=5)
LANGUAGE_SIZE = 40
Array = np.ndarray[Any, np.dtype[np.float64]]
erf = np.vectorize(math.erf)


def build(**settings: Any) -> Connector:
    torch.manual_seed(0)
    config = ConnectorConfig(qformer=QFORMER, **settings)
    model = Connector(config, VISION, LANGUAGE_SIZE).eval().requires_grad_(False)
    for part in model.parameters():
        part += torch.randn_like(part) * (0.3 if part.ndim == 1 else 2 * part.shape[-1] ** -0.5)
    return model


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    # An offset and a scale that a LayerNorm removes, so that reading X instead of LN(X) or the reverse shows.
    features = 1.5 * torch.randn(3, 65, 24) + torch.randn(3, 1, 24)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[2, 4:] = 0
    return features, torch.randint(0, 50, (3, 7)), mask


def array(value: Any) -> Array:
    return np.asarray(value, dtype=np.float64)


def linear(model: Connector, name: str, x: Array) -> Array:
    state = model.state_dict()
    return x @ array(state[f"{name}.weight"]).T + array(state[f"{name}.bias"])


def layer_norm(model: Connector, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * array(model.vlm_att_ln.weight) + array(model.vlm_att_ln.bias)


def expected_context(model: Connector, inputs: tuple[torch.Tensor, ...]) -> Array:
    features, ids, mask = inputs
    x = array(features)
    normalised = torch.tensor(layer_norm(model, x), dtype=torch.float32)
    queries = model.vlm_att_query.repeat(3, 1, 1)
    read = array(model.vlm_att_encoder(queries, ids, mask, normalised))
    text = linear(model, "vlm_att_projector", read)
    patches = x[:, 1:]
    keys = linear(model, "vlm_att_key_projector", patches)
    scores = np.einsum("nqd,npd->nqp", text, keys) / math.sqrt(24)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    assert weights.max() > 5 / 64, "the attention of this test must not be uniform"
    pooled = np.einsum("nqp,npd->nqd", weights, patches).mean(1)
    return linear(model, "vlm_att_val_projector", pooled)[:, None]


def project(model: Connector, x: Array) -> Array:
    hidden = linear(model, "mm_projector.0", x)
    return linear(model, "mm_projector.2", 0.5 * hidden * (1 + erf(hidden / math.sqrt(2))))


def pool(patches: Array, grid: int) -> Array:
    cell, pooled = 8 // grid, []
    for row in range(grid):
        for column in range(grid):
            inside = [
                patches[:, y * 8 + x]
                for y in range(row * cell, (row + 1) * cell)
                for x in range(column * cell, (column + 1) * cell)
            ]
            pooled.append(np.mean(inside, axis=0))
    return np.stack(pooled, axis=1)


def test_context_token_follows_the_equations(inputs: tuple[torch.Tensor, ...]) -> None:
    model = build()
    actual = model.context_token(*inputs)
    assert actual.shape == (3, 1, LANGUAGE_SIZE)
    assert np.abs(array(actual) - expected_context(model, inputs)).max() <= 1e-4


@pytest.mark.parametrize(("compress_type", "grid"), [("mean", 1), ("grid:2", 2), ("grid:4", 4), ("none", 8)])
def test_content_tokens_are_pooled_row_major(inputs: tuple[torch.Tensor, ...], compress_type: str, grid: int) -> None:
    model = build(compress_type=compress_type)
    actual = model.content_tokens(inputs[0])
    assert actual.shape == (3, grid * grid, LANGUAGE_SIZE)
    assert np.abs(array(actual) - project(model, pool(array(inputs[0])[:, 1:], grid))).max() <= 1e-4


def test_context_comes_before_content(inputs: tuple[torch.Tensor, ...]) -> None:
    model = build(compress_type="grid:2")
    tokens = model(*inputs)
    assert tokens.shape == (3, 5, LANGUAGE_SIZE)
    assert torch.equal(tokens[:, :1], model.context_token(*inputs))
    assert torch.equal(tokens[:, 1:], model.content_tokens(inputs[0]))


def test_only_the_context_depends_on_the_question(inputs: tuple[torch.Tensor, ...]) -> None:
    model = build()
    features, ids, mask = inputs
    one, other = model(features, ids, mask), model(features, (ids + 1) % 50, mask)
    assert (one[:, 0] - other[:, 0]).abs().max() > 1e-3
    assert torch.equal(one[:, 1:], other[:, 1:])


@pytest.mark.parametrize(
    ("projector_type", "keys"),
    [
        ("linear", ["bias", "weight"]),
        ("mlp1x_gelu", ["0.bias", "0.weight"]),
        ("mlp3x_gelu", ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"]),
    ],
)
def test_projector_keys_are_upstreams(projector_type: str, keys: list[str]) -> None:
    assert sorted(build(projector_type=projector_type).mm_projector.state_dict()) == keys


def test_identity_projector_passes_patches(inputs: tuple[torch.Tensor, ...]) -> None:
    config = ConnectorConfig(qformer=QFORMER, projector_type="identity", compress_type="none")
    model = Connector(config, VISION, VISION.hidden_size)
    assert torch.equal(model.content_tokens(inputs[0]), inputs[0][:, 1:])


def test_bfloat16_autocast_stays_close(inputs: tuple[torch.Tensor, ...]) -> None:
    model = build()
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(*inputs).float()
    expected = model(*inputs)
    assert (actual - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize("compress_type", ["none", "mean", "grid:4"])
def test_without_a_qformer_the_content_tokens_are_left(compress_type: str, inputs: tuple[torch.Tensor, ...]) -> None:
    whole = build(compress_type=compress_type)
    alone = build_connector(ConnectorConfig(compress_type=compress_type, qformer=None), VISION, LANGUAGE_SIZE)
    assert isinstance(alone, ContentConnector)
    alone.load_state_dict({name: value for name, value in whole.state_dict().items() if "mm_projector" in name})
    assert torch.equal(alone(inputs[0]), whole(*inputs)[:, 1:])
