"""ClipVit against transformers' CLIPVisionModel, read as LLaVA reads it."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.clip_vit import ClipVit

SMALL = VisionConfig(
    tower="clip",
    image_size=28,
    patch_size=7,
    hidden_size=32,
    num_layers=3,
    num_heads=4,
    mlp_size=80,
    layer_norm_eps=1e-5,
)


@pytest.fixture
def reference() -> CLIPVisionModel:
    torch.manual_seed(0)
    settings = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=28,
        patch_size=7,
    )
    model = CLIPVisionModel(settings).eval().requires_grad_(False)
    for part in model.parameters():
        part += torch.randn_like(part) * (0.3 if part.ndim == 1 else part.shape[-1] ** -0.5)
    return model


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))


def tower_of(reference: CLIPVisionModel) -> tuple[ClipVit, list[str]]:
    tower = ClipVit(SMALL).eval().requires_grad_(False)
    state = {name.removeprefix("vision_model."): value for name, value in reference.state_dict().items()}
    missing, unexpected = tower.load_state_dict(state, strict=False)
    assert missing == []
    return tower, sorted(unexpected)


def test_it_gives_what_enters_the_last_layer(reference: CLIPVisionModel, pixels: torch.Tensor) -> None:
    tower, unused = tower_of(reference)
    assert {name.removeprefix("encoder.layers.3.").split(".")[0] for name in unused if "layers.3." in name} == {
        "layer_norm1",
        "layer_norm2",
        "mlp",
        "self_attn",
    }
    others = [name for name in unused if "layers.3." not in name and not name.endswith("position_ids")]
    assert others == ["post_layernorm.bias", "post_layernorm.weight"]
    expected = reference(pixels, output_hidden_states=True).hidden_states[-2]
    actual = tower(pixels)
    assert actual.shape == (3, 17, 32)
    assert expected.std() > 1
    assert (actual - expected).abs().max() <= 1e-4


def test_bfloat16_autocast_stays_close(reference: CLIPVisionModel, pixels: torch.Tensor) -> None:
    tower, _ = tower_of(reference)
    with torch.autocast("cpu", torch.bfloat16):
        actual = tower(pixels)
    expected = tower(pixels)
    assert (actual - expected).norm() / expected.norm() < 0.03
