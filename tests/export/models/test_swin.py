"""SwinTrunk against transformers' SwinModel, and its padding against brute-force numpy."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SwinConfig, SwinModel

from emo_edge.export.configs.networks import FaceConfig
from emo_edge.export.models.swin import SwinTrunk, WindowAttention

Array = np.ndarray[Any, np.dtype[np.float64]]


def build(**settings: Any) -> SwinTrunk:
    torch.manual_seed(0)
    return randomised(SwinTrunk(FaceConfig(embed_dim=8, num_heads=(1, 2, 4, 4), mlp_ratio=3, **settings)))


def randomised(model: Any) -> Any:
    model.eval().requires_grad_(False)
    for part in model.parameters():
        part += torch.randn_like(part) * (0.3 if part.ndim == 1 else part.shape[-1] ** -0.5)
    return model


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give torchvision's keys transformers' names; the fused qkv becomes three linears."""
    values = {}
    for key, value in state.items():
        key = key.replace("0.0.0.", "embeddings.patch_embeddings.projection.").replace("0.0.2.", "embeddings.norm.")
        key = re.sub(r"^0\.(\d)\.(\d+)\.", lambda found: f"encoder.layers.{int(found[1]) // 2}.blocks.{found[2]}.", key)
        key = re.sub(r"^0\.(\d)\.", lambda found: f"encoder.layers.{int(found[1]) // 2 - 1}.downsample.", key)
        key = key.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after")
        key = key.replace("mlp.0", "intermediate.dense").replace("mlp.3", "output.dense")
        key = key.replace("attn.proj", "attention.output.dense").replace("attn.rel", "attention.self.rel")
        if "attn.qkv" in key:
            names = [key.replace("attn.qkv", f"attention.self.{name}") for name in ("query", "key", "value")]
            values.update(zip(names, value.chunk(3), strict=True))
        else:
            values[key] = value
    return values


@pytest.mark.parametrize(
    ("image_size", "window_size", "sizes"),
    [
        pytest.param(48, 3, [24, 12, 6, 3], id="whole windows"),
        pytest.param(42, 3, [21, 11, 6, 3], id="odd maps, padded windows"),
        pytest.param(62, 4, [31, 16, 8, 4], id="even window, padded first stage"),
    ],
)
def test_stage_maps_equal_transformers(image_size: int, window_size: int, sizes: list[int]) -> None:
    # Maps no smaller than the window: there transformers shrinks the window, torchvision pads the map.
    depths = (2, 3, 4, 2)
    trunk = build(image_size=image_size, patch_size=2, window_size=window_size, depths=depths)
    reference = SwinModel(
        SwinConfig(
            image_size=image_size,
            patch_size=2,
            embed_dim=8,
            depths=list(depths),
            num_heads=[1, 2, 4, 4],
            window_size=window_size,
            mlp_ratio=3.0,
        ),
        add_pooling_layer=False,
    ).eval()
    missing, unexpected = reference.load_state_dict(renamed(trunk.state_dict()), strict=False)
    assert {key.rpartition(".")[2] for key in missing} <= {"relative_position_index", "weight", "bias"}
    assert [key for key in missing if "relative" not in key] == ["layernorm.weight", "layernorm.bias"]
    assert not unexpected
    pixels = torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        x, size = reference.embeddings(pixels)
        outputs = reference.encoder(x, size, output_hidden_states=True, output_hidden_states_before_downsampling=True)
    maps = trunk(pixels)
    assert [part.shape[2] for part in maps] == sizes
    for actual, expected in zip(maps, outputs.reshaped_hidden_states[1:], strict=True):
        assert (actual - expected).abs().max() <= 1e-4


def brute_force_attention(layer: WindowAttention, x: Array) -> Array:
    """Attend token by token on one padded map [H, W, C], straight from the Swin paper and torchvision's padding."""
    state = {key: np.asarray(value, dtype=np.float64) for key, value in layer.state_dict().items()}
    height, width, channels = x.shape
    window, heads = layer.window, layer.num_heads
    high, wide = (-(-size // window) * window for size in (height, width))
    padded = np.zeros((high, wide, channels))
    padded[:height, :width] = x
    down, right = (layer.shift if size > window else 0 for size in (high, wide))
    qkv = (padded @ state["qkv.weight"].T + state["qkv.bias"]).reshape(high, wide, 3, heads, -1)
    result = np.zeros_like(padded)
    for row in range(high):
        for column in range(wide):
            # A token's window is that of its place after the cyclic shift; tokens that wrapped around see only
            # tokens that wrapped around as well.
            place = ((row - down) % high, (column - right) % wide)
            mixed = np.zeros((heads, channels // heads))
            for head in range(heads):
                scores, values = [], []
                for y in range(place[0] // window * window, place[0] // window * window + window):
                    for x_ in range(place[1] // window * window, place[1] // window * window + window):
                        source = ((y + down) % high, (x_ + right) % wide)
                        index = (place[0] - y + window - 1) * (2 * window - 1) + place[1] - x_ + window - 1
                        score = qkv[row, column, 0, head] @ qkv[(*source, 1, head)] / np.sqrt(channels / heads)
                        score += state["relative_position_bias_table"][index, head]
                        wrapped = (place[0] >= high - down) != (y >= high - down)
                        wrapped |= (place[1] >= wide - right) != (x_ >= wide - right)
                        scores.append(score - 100 * wrapped)
                        values.append(qkv[(*source, 2, head)])
                weights = np.exp(np.array(scores) - max(scores))
                mixed[head] = weights / weights.sum() @ np.array(values)
            result[row, column] = mixed.ravel() @ state["proj.weight"].T + state["proj.bias"]
    return result[:height, :width]


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"),
    [
        pytest.param(4, 4, 7, 3, id="one padded window is not shifted"),
        pytest.param(5, 5, 3, 1, id="padded and shifted"),
        pytest.param(8, 8, 4, 2, id="shifted, even window"),
        pytest.param(3, 7, 4, 2, id="shifted along one axis"),
    ],
)
def test_window_attention_equals_brute_force(height: int, width: int, window: int, shift: int) -> None:
    torch.manual_seed(0)
    layer = randomised(WindowAttention(8, 2, window, shift))
    x = torch.randn(2, height, width, 8)
    actual = layer(x)
    for sample in range(2):
        expected = brute_force_attention(layer, np.asarray(x[sample], dtype=np.float64))
        assert np.abs(np.asarray(actual[sample]) - expected).max() <= 1e-4


def test_toy_geometry_has_a_last_map_smaller_than_its_window() -> None:
    maps = build(image_size=112, patch_size=4, window_size=7, depths=(2, 2, 4, 2))(torch.randn(1, 3, 112, 112))
    assert [tuple(part.shape[1:]) for part in maps] == [(8, 28, 28), (16, 14, 14), (32, 7, 7), (64, 4, 4)]
