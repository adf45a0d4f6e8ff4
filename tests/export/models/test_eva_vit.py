"""EvaVit against transformers' InstructBlipVisionModel, the same tower under other names."""

import pytest
import torch
from transformers import InstructBlipVisionConfig, InstructBlipVisionModel

from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.eva_vit import EvaVit

SMALL = VisionConfig(image_size=28, patch_size=7, hidden_size=32, num_layers=3, num_heads=4, mlp_size=80)
NAMES = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj": "embeddings.patch_embedding",
    "blocks.": "encoder.layers.",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.projection",
    "attn.qkv": "self_attn.qkv",
}


@pytest.fixture
def tower() -> EvaVit:
    torch.manual_seed(0)
    model = EvaVit(SMALL).eval().requires_grad_(False)
    for part in model.parameters():
        part += torch.randn_like(part) * (0.3 if part.ndim == 1 else part.shape[-1] ** -0.5)
    return model


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    values = {}
    for key, value in state.items():
        if key.endswith(("q_bias", "v_bias")):
            continue
        for ours, theirs in NAMES.items():
            key = key.replace(ours, theirs)
        values[key] = value
    for index in range(SMALL.num_layers):
        q, v = (state[f"blocks.{index}.attn.{name}_bias"] for name in "qv")
        values[f"encoder.layers.{index}.self_attn.qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
    return values


def test_last_hidden_state_equals_transformers(tower: EvaVit, pixels: torch.Tensor) -> None:
    reference = InstructBlipVisionModel(
        InstructBlipVisionConfig(
            hidden_size=32,
            intermediate_size=80,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=28,
            patch_size=7,
            layer_norm_eps=1e-6,
        )
    ).eval()
    missing, unexpected = reference.load_state_dict(renamed(tower.state_dict()), strict=False)
    assert (sorted(missing), unexpected) == (["post_layernorm.bias", "post_layernorm.weight"], [])
    with torch.no_grad():
        expected = reference(pixels, output_hidden_states=True).hidden_states[-1]
    actual = tower(pixels)
    assert actual.shape == (3, 17, 32)
    assert expected.std() > 1
    assert (actual - expected).abs().max() <= 1e-4


def test_class_token_comes_first_and_is_not_normalised(tower: EvaVit, pixels: torch.Tensor) -> None:
    bare = EvaVit(SMALL.model_copy(update={"num_layers": 0})).requires_grad_(False)
    bare.load_state_dict(tower.state_dict(), strict=False)
    assert torch.equal(bare(pixels)[:, 0], (tower.cls_token + tower.pos_embed[:, :1])[:, 0].expand(3, -1))


def test_bfloat16_autocast_stays_close(tower: EvaVit, pixels: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        actual = tower(pixels)
    expected = tower(pixels)
    assert (actual - expected).norm() / expected.norm() < 0.03
