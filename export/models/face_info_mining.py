"""Face Info Mining: the face network's outputs as language-model tokens. Our reconstruction of EMO-LLaMA's module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.networks import FaceInfoConfig
from emo_edge.export.models.init import init_weights, learned
from emo_edge.taxonomy import LANDMARK_REGIONS


def sample_bilinear(face_map: Tensor, points: Tensor) -> Tensor:
    """Read ``face_map`` [N, C, h, w] at ``points`` [N, P, 2], x and y in [-1, 1]; return [N, P, C].

    The same values as ``grid_sample(align_corners=False, padding_mode="border")``, from hat functions and one
    matmul, which every engine has. The coordinates stay float32: bfloat16 resolves a quarter of a pixel.
    """
    height, width = face_map.shape[2:]
    rows, columns = _hats(points[..., 1].float(), height), _hats(points[..., 0].float(), width)
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2)
    return weights.to(face_map.dtype) @ face_map.flatten(2).transpose(1, 2)


def _hats(position: Tensor, size: int) -> Tensor:
    # [N, P] in [-1, 1] -> [N, P, size]: the two neighbouring pixels share a weight of one
    pixel = (((position + 1) * size - 1) / 2).clamp(0, size - 1)
    pixels = torch.arange(size, device=position.device, dtype=position.dtype)
    return F.relu(1 - (pixel[..., None] - pixels).abs())


class CrossAttention(nn.Module):
    """Multi-head attention from the learned queries to the face tokens."""

    def __init__(self, hidden: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(hidden, hidden)
        self.k_proj = nn.Linear(hidden, hidden)
        self.v_proj = nn.Linear(hidden, hidden)
        self.out_proj = nn.Linear(hidden, hidden)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attend from [N, k, hidden] to [N, T, hidden]; return [N, k, hidden]."""
        parts = (self.q_proj(queries), self.k_proj(tokens), self.v_proj(tokens))
        q, k, v = (torch.unflatten(part, -1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out_proj(mixed)  # type: ignore[no-any-return]


class FaceInfoMining(nn.Module):
    """Distil the face map and the landmarks into k tokens.

    A RECONSTRUCTION: EMO-LLaMA (arXiv 2408.11424) describes global and local face knowledge from FaceXFormer mined
    by a cross-attention, but its code was never released; sizes, regions and layer order here are ours.

    Global tokens are the pooled map; local tokens, one per landmark region, join the region's shape (its
    coordinates) and its look (the map at its points). Learned queries read both through one pre-norm block.
    """

    def __init__(self, config: FaceInfoConfig, face_dim: int, language_hidden_size: int) -> None:
        super().__init__()
        hidden, self.grid = config.hidden_size, config.global_grid
        self.global_proj = nn.Linear(face_dim, hidden)
        self.global_position = learned(1, self.grid**2, hidden)
        self.region_look = nn.Linear(face_dim, hidden)
        self.region_shape = nn.ModuleDict(
            {name: nn.Linear(2 * (stop - start), hidden) for name, (start, stop) in LANDMARK_REGIONS.items()}
        )
        self.region_embedding = learned(1, len(LANDMARK_REGIONS), hidden)
        self.queries = learned(1, config.num_tokens, hidden, std=1.0)
        self.norm_queries = nn.LayerNorm(hidden)
        self.norm_tokens = nn.LayerNorm(hidden)
        self.attention = CrossAttention(hidden, config.num_heads)
        self.norm_mlp = nn.LayerNorm(hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, config.mlp_size), nn.GELU(), nn.Linear(config.mlp_size, hidden))
        self.norm_out = nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, language_hidden_size)
        init_weights(self)

    def forward(self, face_map: Tensor, landmarks: Tensor) -> Tensor:
        """Return the face tokens [N, k, E].

        Args:
            face_map: [N, C, h, w] float, FaceXFormer's fused map.
            landmarks: [N, 68, 2] float, x and y in [-1, 1], iBUG order.

        """
        tokens = torch.cat([self.global_tokens(face_map), self.local_tokens(face_map, landmarks)], dim=1)
        queries = self.queries.expand(face_map.shape[0], -1, -1)
        queries = queries + self.attention(self.norm_queries(queries), self.norm_tokens(tokens))
        queries = queries + self.mlp(self.norm_mlp(queries))
        return self.out_proj(self.norm_out(queries))  # type: ignore[no-any-return]

    def global_tokens(self, face_map: Tensor) -> Tensor:
        """Return [N, grid*grid, hidden]: the average-pooled map, row-major, with learned positions."""
        height, width = face_map.shape[2:]
        if height % self.grid == 0 and width % self.grid == 0:
            pooled = F.avg_pool2d(face_map, (height // self.grid, width // self.grid))
        else:
            pooled = F.adaptive_avg_pool2d(face_map, self.grid)
        return self.global_proj(pooled.flatten(2).transpose(1, 2)) + self.global_position  # type: ignore[no-any-return]

    def local_tokens(self, face_map: Tensor, landmarks: Tensor) -> Tensor:
        """Return [N, 9, hidden], one per landmark region in the vocabulary's order."""
        sampled = sample_bilinear(face_map, landmarks)
        regions = LANDMARK_REGIONS.values()
        look = torch.stack([sampled[:, start:stop].mean(dim=1) for start, stop in regions], dim=1)
        flat = [landmarks[:, start:stop].flatten(1) for start, stop in regions]
        shape = [project(part) for project, part in zip(self.region_shape.values(), flat, strict=True)]
        return self.region_look(look) + torch.stack(shape, dim=1) + self.region_embedding  # type: ignore[no-any-return]
