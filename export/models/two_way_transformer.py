"""SAM's two-way transformer as FaceXFormer uses it (``network/models/transformer.py``)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.networks import FaceConfig


class Attention(nn.Module):
    """Multi-head attention whose projections may be narrower than its input."""

    def __init__(self, dim: int, inner: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q [N, A, dim] to k and v [N, B, dim]; return [N, A, dim]."""
        q, k, v = self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out_proj(mixed)  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.num_heads, -1)).transpose(1, 2)


class MlpBlock(nn.Module):
    """Two linears with ReLU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., dim] to [..., dim]."""
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayBlock(nn.Module):
    """Self-attention of tokens, tokens to image, MLP, image to tokens; a LayerNorm after each."""

    def __init__(self, config: FaceConfig, is_first: bool) -> None:
        super().__init__()
        dim, heads = config.decoder_dim, config.decoder_heads
        self.self_attn = Attention(dim, dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, dim // 2, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MlpBlock(dim, config.decoder_mlp_size)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, dim // 2, heads)
        self.is_first = is_first

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Update tokens [N, T, dim] and image [N, P, dim]; the first block's self-attention replaces the tokens."""
        if self.is_first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + token_pe
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        keys = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, keys, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(keys, tokens + token_pe, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Let task tokens read the image and the image read the tokens."""

    def __init__(self, config: FaceConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.layers = nn.ModuleList(TwoWayBlock(config, index == 0) for index in range(config.decoder_depth))
        self.final_attn_token_to_image = Attention(dim, dim // 2, config.decoder_heads)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [N, T, dim] and image [N, P, dim] from the same shapes; ``image_pe`` is [P, dim].

        The initial tokens are their own position encoding.
        """
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        read = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + read), image
