"""EVA ViT: the frozen image tower of LLaMA-VID, under LAVIS's key names (``eva_vit.py``)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.init import init_weights, learned
from emo_edge.export.models.token_selection import Selection, selection


class PatchEmbed(nn.Module):
    """Cut the image into patches and project each to a token."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [N, grid*grid, D], row-major, from [N, 3, H, W]."""
        tokens: Tensor = self.proj(pixels)
        return tokens.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection; queries and values have a bias, keys have none."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def selection(self, x: Tensor) -> Selection:
        """Return what tokens of [N, T, D] are chosen by, as `forward` attends."""
        query, key, _ = self.qkv.weight.chunk(3)
        return selection(F.linear(x[:, :1], query, self.q_bias), F.linear(x, key), self.num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within [N, T, D]."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1)
        q, k, v = (torch.unflatten(part, -1, (self.num_heads, -1)).transpose(1, 2) for part in qkv)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(mixed)  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linears with the exact (erf) GELU between."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.mlp_size)
        self.fc2 = nn.Linear(config.mlp_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block; no layer scale, no relative position bias."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, D] to [N, T, D]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class EvaVit(nn.Module):
    """EVA-CLIP ViT without its last block, final norm and head (LAVIS ``eva_vit.py``; LLaMA-VID keeps 39 of 40)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config)
        self.cls_token = learned(1, 1, config.hidden_size)
        self.pos_embed = learned(1, 1 + config.grid**2, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        init_weights(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return every token's features, class token first and un-normalised.

        Args:
            pixels: [N, 3, H, W] float, normalised with the config's mean and std.

        Returns:
            [N, 1 + grid*grid, D], patches row-major.

        """
        x = self._embedded(pixels)
        for block in self.blocks:
            x = block(x)
        return x

    def with_selection(self, pixels: Tensor) -> tuple[Tensor, Selection]:
        """Return the features as `forward` does, and what tokens are chosen by in the last block."""
        *first, last = self.blocks.children()
        x, final = self._embedded(pixels), cast(Block, last)
        for block in first:
            x = block(x)
        return final(x), final.attn.selection(final.norm1(x))

    def _embedded(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed(pixels)
        cls = self.cls_token.to(patches.dtype).expand(patches.shape[0], -1, -1)
        return torch.cat([cls, patches], dim=1) + self.pos_embed
