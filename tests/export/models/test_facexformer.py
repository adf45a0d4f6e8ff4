"""FaceXFormer's fused map, decoder, heads and masks against numpy written from its specification."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from emo_edge.export.configs.networks import FaceConfig
from emo_edge.export.models.facexformer import FaceOutputs, FaceXFormer

SMALL = FaceConfig(
    image_size=48,
    embed_dim=8,
    depths=(2, 1, 1, 1),
    num_heads=(1, 2, 2, 4),
    window_size=4,
    mlp_ratio=2,
    decoder_dim=32,
    decoder_heads=4,
    decoder_mlp_size=48,
)
Array = np.ndarray[Any, np.dtype[np.float64]]
erf = np.vectorize(math.erf)
TASKS = ("landmarks", "pose", "attribute", "visibility", "age", "gender", "race")


@pytest.fixture(scope="module")
def model() -> FaceXFormer:
    torch.manual_seed(0)
    face = FaceXFormer(SMALL).eval().requires_grad_(False)
    for part in face.parameters():
        part += torch.randn_like(part) * (0.3 if part.ndim == 1 else part.shape[-1] ** -0.5)
    return face


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def outputs(model: FaceXFormer, pixels: torch.Tensor) -> FaceOutputs:
    return model(pixels)


@pytest.fixture(scope="module")
def spec(model: FaceXFormer) -> "Spec":
    return Spec({key: np.asarray(value, dtype=np.float64) for key, value in model.state_dict().items()})


class Spec:
    """The decoder as its specification page words it, in float64 numpy."""

    def __init__(self, state: dict[str, Array]) -> None:
        self.state = state

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name: str, x: Array, eps: float = 1e-5) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def mlp(self, name: str, x: Array) -> Array:
        for layer in (0, 1):
            x = np.maximum(self.linear(f"{name}.layers.{layer}", x), 0)
        return self.linear(f"{name}.layers.2", x)

    def attention(self, name: str, q: Array, k: Array, v: Array) -> Array:
        q, k, v = (self.linear(f"{name}.{part}_proj", x) for part, x in zip("qkv", (q, k, v), strict=True))
        width = q.shape[-1] // SMALL.decoder_heads
        heads = []
        for start in range(0, q.shape[-1], width):
            part = slice(start, start + width)
            scores = q[..., part] @ np.swapaxes(k[..., part], 1, 2) / math.sqrt(width)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v[..., part])
        return self.linear(f"{name}.out_proj", np.concatenate(heads, axis=-1))

    def fused_map(self, stages: list[torch.Tensor]) -> Array:
        resized = []
        for index, stage in enumerate(stages):
            x = np.moveaxis(np.asarray(stage, dtype=np.float64), 1, -1)
            resized.append(resize(self.linear(f"linear_c.{index}.proj", x), stages[0].shape[2]))
        joined = np.concatenate(resized[::-1], axis=-1)
        return np.moveaxis(joined @ self.state["linear_fuse.weight"][:, :, 0, 0].T, -1, 1)

    def position_encoding(self, size: int) -> Array:
        table = []
        for row in range(size):
            for column in range(size):
                point = 2 * np.array([(column + 0.5) / size, (row + 0.5) / size]) - 1
                angle = 2 * np.pi * point @ self.state["pe_layer.positional_encoding_gaussian_matrix"]
                table.append(np.concatenate([np.sin(angle), np.cos(angle)]))
        return np.array(table)

    def transform(self, fused: Array) -> tuple[Array, Array]:
        samples, dim, size, _ = fused.shape
        image, pe = fused.reshape(samples, dim, -1).transpose(0, 2, 1), self.position_encoding(size)
        names = [f"face_decoder.{task}_token.weight" for task in TASKS] + ["face_decoder.mask_tokens.weight"]
        start = np.repeat(np.concatenate([self.state[name] for name in names])[None], samples, axis=0)
        tokens = start
        for layer in range(SMALL.decoder_depth):
            tokens, image = self.two_way_layer(layer, tokens, image, start, pe)
        base = "face_decoder.transformer"
        read = self.attention(f"{base}.final_attn_token_to_image", tokens + start, image + pe, image)
        return self.norm(f"{base}.norm_final_attn", tokens + read), image

    def two_way_layer(self, layer: int, tokens: Array, image: Array, start: Array, pe: Array) -> tuple[Array, Array]:
        base = f"face_decoder.transformer.layers.{layer}"
        if layer == 0:
            tokens = self.attention(f"{base}.self_attn", tokens, tokens, tokens)
        else:
            tokens = tokens + self.attention(f"{base}.self_attn", tokens + start, tokens + start, tokens)
        tokens = self.norm(f"{base}.norm1", tokens)
        read = self.attention(f"{base}.cross_attn_token_to_image", tokens + start, image + pe, image)
        tokens = self.norm(f"{base}.norm2", tokens + read)
        hidden = np.maximum(self.linear(f"{base}.mlp.lin1", tokens), 0)
        tokens = self.norm(f"{base}.norm3", tokens + self.linear(f"{base}.mlp.lin2", hidden))
        read = self.attention(f"{base}.cross_attn_image_to_token", image + pe, tokens + start, tokens)
        return tokens, self.norm(f"{base}.norm4", image + read)

    def masks(self, tokens: Array, image: Array, size: int) -> Array:
        base = "face_decoder.output_upscaling"
        x = image.reshape(len(image), size, size, -1)
        x = gelu(self.norm(f"{base}.1", self.transposed_convolution(f"{base}.0", x), eps=1e-6))
        x = gelu(self.transposed_convolution(f"{base}.3", x))
        hyper = self.mlp("face_decoder.output_hypernetwork_mlps", tokens[:, 7:])
        return np.einsum("nmc,nyxc->nmyx", hyper, x)

    def transposed_convolution(self, name: str, x: Array) -> Array:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        samples, height, width, _ = x.shape
        result = np.zeros((samples, 2 * height, 2 * width, weight.shape[1]))
        for row in (0, 1):
            for column in (0, 1):
                result[:, row::2, column::2] = x @ weight[:, :, row, column] + bias
        return result


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def resize(x: Array, size: int) -> Array:
    """Resize [N, h, h, C] bilinearly with half-pixel centres (align_corners=False)."""
    source = np.clip((np.arange(size) + 0.5) * x.shape[1] / size - 0.5, 0, x.shape[1] - 1)
    low = np.floor(source).astype(int)
    high, share = np.minimum(low + 1, x.shape[1] - 1), source - low
    x = x[:, low] * (1 - share)[:, None, None] + x[:, high] * share[:, None, None]
    return x[:, :, low] * (1 - share)[:, None] + x[:, :, high] * share[:, None]


def worst(actual: torch.Tensor | None, expected: Array) -> float:
    assert actual is not None
    assert tuple(actual.shape) == expected.shape
    return float(np.abs(np.asarray(actual) - expected).max())


def test_fused_map(model: FaceXFormer, spec: Spec, pixels: torch.Tensor, outputs: FaceOutputs) -> None:
    stages = model.backbone(pixels)
    assert [part.shape[2] for part in stages] == [12, 6, 3, 2]
    assert worst(outputs.face_map, spec.fused_map(stages)) <= 1e-4


def test_position_encoding(model: FaceXFormer, spec: Spec) -> None:
    assert worst(model.pe_layer(12, 12), spec.position_encoding(12)) <= 1e-5


def test_heads(spec: Spec, outputs: FaceOutputs) -> None:
    tokens, _ = spec.transform(np.asarray(outputs.face_map, dtype=np.float64))
    for place, task in enumerate(TASKS):
        expected = spec.mlp(f"face_decoder.{task}_prediction_head", tokens[:, place])
        if task == "landmarks":
            expected = expected.reshape(2, 68, 2)
        assert worst(outputs[place], expected) <= 1e-4, task
        assert expected.std() > 0.1


def test_segmentation(spec: Spec, outputs: FaceOutputs) -> None:
    tokens, image = spec.transform(np.asarray(outputs.face_map, dtype=np.float64))
    expected = spec.masks(tokens, image, 12)
    assert expected.shape == (2, 11, 48, 48)
    assert worst(outputs.segmentation, expected) <= 1e-4


def test_output_names_and_shapes(outputs: FaceOutputs) -> None:
    assert {name: tuple(value.shape[1:]) for name, value in outputs._asdict().items()} == {
        "landmarks": (68, 2),
        "pose": (3,),
        "attributes": (40,),
        "visibility": (29,),
        "age": (8,),
        "gender": (2,),
        "race": (5,),
        "segmentation": (11, 48, 48),
        "face_map": (32, 12, 12),
    }


def test_segmentation_can_be_left_out(model: FaceXFormer, pixels: torch.Tensor, outputs: FaceOutputs) -> None:
    short = model(pixels, with_segmentation=False)
    assert short.segmentation is None
    for actual, expected in zip(short[:7], outputs[:7], strict=True):
        assert torch.equal(actual, expected)


def test_bfloat16_autocast_stays_close(model: FaceXFormer, pixels: torch.Tensor, outputs: FaceOutputs) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(pixels)
    for name, actual in rounded._asdict().items():
        expected = getattr(outputs, name)
        assert (actual.float() - expected).norm() / expected.norm() < 0.05, name


def test_exported_graph_keeps_the_batch_dynamic(model: FaceXFormer, pixels: torch.Tensor) -> None:
    batch = torch.export.Dim.DYNAMIC
    program = torch.export.export(model, (pixels,), dynamic_shapes=({0: batch},))
    three = torch.cat([pixels, pixels[:1]])
    for actual, expected in zip(program.module()(three), model(three), strict=True):
        assert (actual - expected).abs().max() <= 1e-5


def test_every_weight_learns(pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    face = FaceXFormer(SMALL)
    sum(part.square().mean() for part in face(pixels)).backward()
    still = [name for name, part in face.named_parameters() if part.grad is None or not part.grad.any()]
    # A key's bias moves all scores of a query alike: its gradient is zero but for rounding.
    assert [name for name in still if not name.endswith("k_proj.bias")] == []
