"""Swin trunk of FaceXFormer and ME-GraphAU, under torchvision's key names (``models/swin_transformer.py``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from emo_edge.export.models.init import init_weights, learned

MASKED = -100.0
"""Added to the score of two tokens that are neighbours only by the cyclic shift."""


class TrunkSizes(Protocol):
    """Sizes of a trunk, a part of a network's config."""

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""

    @property
    def embed_dim(self) -> int:
        """Width of the first stage; each further one has twice the width."""

    @property
    def depths(self) -> tuple[int, int, int, int]:
        """Blocks of each stage."""

    @property
    def num_heads(self) -> tuple[int, int, int, int]:
        """Heads of each stage."""

    @property
    def window_size(self) -> int:
        """Side of an attention window."""

    @property
    def mlp_ratio(self) -> float:
        """Width of a feed-forward network as a multiple of its stage's."""


@lru_cache
def relative_position_index(window: int) -> NDArray[np.int64]:
    """Return [window^4] int64: the row of the bias table for each (query, key) pair of a window."""
    axis = np.arange(window)
    y, x = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    dy, dx = (part[:, None] - part[None, :] + window - 1 for part in (y, x))
    index: NDArray[np.int64] = (dy * (2 * window - 1) + dx).ravel().astype(np.int64)
    return index


@lru_cache
def shift_mask(height: int, width: int, window: int, shift_y: int, shift_x: int) -> NDArray[np.float32]:
    """Return the additive mask [windows, 1, window^2, window^2] float32 of a shifted, padded map.

    Along a shifted axis the map has three regions (untouched, last window before the wrap, wrapped); tokens of
    different regions do not see each other. Padding is not masked: torchvision lets tokens attend to it.
    """
    rows, columns = (_regions(size, window, shift) for size, shift in ((height, shift_y), (width, shift_x)))
    regions = rows[:, None] * 3 + columns[None, :]
    tiles = regions.reshape(height // window, window, width // window, window).transpose(0, 2, 1, 3)
    flat = tiles.reshape(-1, window * window)
    differs = flat[:, None, :, None] != flat[:, None, None, :]
    return np.where(differs, np.float32(MASKED), np.float32(0))


def _regions(size: int, window: int, shift: int) -> NDArray[np.int64]:
    position = np.arange(size)
    if shift == 0:
        return np.zeros_like(position)
    return (position >= size - window).astype(np.int64) + (position >= size - shift)


class ToChannelsLast(nn.Module):
    """[N, C, H, W] to [N, H, W, C]; it holds index 1 of the stem, as torchvision's Permute does."""

    def forward(self, x: Tensor) -> Tensor:
        """Move the channels last."""
        return x.permute(0, 2, 3, 1)


class WindowAttention(nn.Module):
    """Self-attention inside (shifted) windows with a learned relative position bias."""

    def __init__(self, dim: int, num_heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.num_heads, self.window, self.shift = num_heads, window, shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = learned((2 * window - 1) ** 2, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to [N, H, W, C]; the map is zero-padded right and below to whole windows."""
        _, height, width, _ = x.shape
        window = self.window
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        padded = (x.shape[1], x.shape[2])
        # An axis that one window covers is not shifted.
        shifts = [self.shift if size > window else 0 for size in padded]
        x = _roll(x, [-shift for shift in shifts])
        x = self._attend(_partition(x, window), self._bias(padded, shifts))
        x = _roll(_merge(x, window, padded), shifts)
        return x[:, :height, :width]

    def _attend(self, windows: Tensor, bias: Tensor) -> Tensor:
        # [N, windows, tokens, C] -> three of [N, windows, heads, tokens, C / heads]
        qkv = self.qkv(windows).chunk(3, dim=-1)
        q, k, v = (torch.unflatten(part, -1, (self.num_heads, -1)).transpose(2, 3) for part in qkv)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias.to(q.dtype)
        mixed = scores.softmax(dim=-1).to(v.dtype) @ v
        return self.proj(mixed.transpose(2, 3).flatten(3))  # type: ignore[no-any-return]

    def _bias(self, padded: tuple[int, int], shifts: list[int]) -> Tensor:
        # [1 or windows, heads, tokens, tokens]
        table, tokens = self.relative_position_bias_table, self.window**2
        index = torch.tensor(relative_position_index(self.window), device=table.device)
        bias = table[index].view(tokens, tokens, -1).permute(2, 0, 1)[None]
        if not any(shifts):
            return bias
        mask = shift_mask(*padded, self.window, *shifts)
        return bias + torch.tensor(mask, device=table.device, dtype=table.dtype)


class Block(nn.Module):
    """Pre-norm Swin block; ``mlp`` has its linears at 0 and 3."""

    def __init__(self, config: TrunkSizes, dim: int, num_heads: int, shift: int) -> None:
        super().__init__()
        hidden = int(dim * config.mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, config.window_size, shift)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to [N, H, W, C]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class PatchMerging(nn.Module):
    """Halve the map: concatenate each 2 x 2 cell, normalise, project to twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to [N, ceil(H/2), ceil(W/2), 2C]; cell order (0,0), (1,0), (0,1), (1,1)."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        # [N, H, W, C] -> [N, H / 2, W / 2, 4 C], the rows of a cell within its columns
        cells = torch.unflatten(torch.unflatten(x, 2, (-1, 2)), 1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(cells))  # type: ignore[no-any-return]


class SwinTrunk(nn.Module):
    """Four Swin stages; the final norm and head of torchvision's ``swin_b`` are left out, FaceXFormer ignores them."""

    def __init__(self, config: TrunkSizes) -> None:
        super().__init__()
        dim, patch = config.embed_dim, config.patch_size
        stem = nn.Sequential(nn.Conv2d(3, dim, patch, stride=patch), ToChannelsLast(), nn.LayerNorm(dim))
        parts: list[nn.Module] = [stem]
        for stage in range(len(config.depths)):
            parts += [PatchMerging(dim << (stage - 1))] if stage else []
            parts.append(_stage(config, stage))
        self.add_module("0", nn.Sequential(*parts))
        init_weights(self)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps after stages 1 to 4, before the next merge.

        Args:
            pixels: [N, 3, H, W] float, normalised with the config's mean and std.

        Returns:
            Four maps [N, embed_dim * 2^i, H_i, W_i]; H_i is ceil(H_(i-1) / 2), starting at H / patch_size.

        """
        maps, x = [], pixels
        for index, part in enumerate(self.get_submodule("0").children()):
            x = part(x)
            if index % 2 == 1:
                maps.append(x.permute(0, 3, 1, 2))
        return maps


def _stage(config: TrunkSizes, stage: int) -> nn.Sequential:
    dim, heads, half = config.embed_dim << stage, config.num_heads[stage], config.window_size // 2
    return nn.Sequential(*(Block(config, dim, heads, half * (index % 2)) for index in range(config.depths[stage])))


def _roll(x: Tensor, shifts: list[int]) -> Tensor:
    # As torch.roll does. The exporter writes that as slices, which TensorRT parses as thirty layers each.
    for axis, shift in enumerate(shifts, start=1):
        if shift:
            moved = shift % x.shape[axis]
            x = torch.cat(torch.split(x, [x.shape[axis] - moved, moved], dim=axis)[::-1], dim=axis)
    return x


def _partition(x: Tensor, window: int) -> Tensor:
    # [N, H, W, C] -> [N, windows, window^2, C]
    tiles = torch.unflatten(torch.unflatten(x, 2, (-1, window)), 1, (-1, window))
    return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _merge(windows: Tensor, window: int, size: tuple[int, int]) -> Tensor:
    rows, columns = size[0] // window, size[1] // window
    tiles = torch.unflatten(torch.unflatten(windows, 2, (window, window)), 1, (rows, columns))
    return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)
