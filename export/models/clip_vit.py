"""CLIP's image tower, under transformers' key names without their ``vision_model.``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.init import init_weights, learned
from emo_edge.export.models.token_selection import Selection, selection


class Embeddings(nn.Module):
    """Patches and a class token, each with its learned position."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(learned(1, width).detach()[0])
        self.patch_embedding = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding(1 + config.grid**2, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [N, 1 + grid*grid, D], class token first, from [N, 3, H, W]."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class Attention(nn.Module):
    """Multi-head self-attention; every projection has a bias."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def selection(self, x: Tensor) -> Selection:
        """Return what tokens of [N, T, D] are chosen by, as `forward` attends."""
        return selection(self.q_proj(x[:, :1]), self.k_proj(x), self.num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within [N, T, D]."""
        q, k, v = (
            torch.unflatten(part(x), -1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out_proj(mixed)  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linears with CLIP's GELU between, ``x * sigmoid(1.702 x)``."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.mlp_size)
        self.fc2 = nn.Linear(config.mlp_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        hidden = self.fc1(x)
        return self.fc2(hidden * torch.sigmoid(1.702 * hidden))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, D] to [N, T, D]."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class ClipVit(nn.Module):
    """CLIP's tower as LLaVA reads it (``clip_encoder.py``): the last layers and the final norm left out.

    LLaVA-1.5 takes what enters the last of 24 layers (``mm_vision_select_layer`` -2), so 23 are kept.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        # Spelled as in every CLIP checkpoint.
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(config) for _ in range(config.num_layers))})
        init_weights(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return every token's features, class token first and un-normalised.

        Args:
            pixels: [N, 3, H, W] float, normalised with the config's mean and std.

        Returns:
            [N, 1 + grid*grid, D], patches row-major.

        """
        x: Tensor = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self._layers:
            x = layer(x)
        return x

    def with_selection(self, pixels: Tensor) -> tuple[Tensor, Selection]:
        """Return the features as `forward` does, and what tokens are chosen by in the last layer."""
        x, (*first, last) = self.pre_layrnorm(self.embeddings(pixels)), self._layers
        for layer in first:
            x = layer(x)
        return last(x), last.self_attn.selection(last.layer_norm1(x))

    @property
    def _layers(self) -> list[Any]:
        return list(self.encoder.get_submodule("layers").children())
