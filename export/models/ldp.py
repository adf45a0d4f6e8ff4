"""MobileVLM's projectors, which leave a quarter of the patches: LDP of its first version, LDPv2 of its second.

Attribute names are upstream's below ``mm_projector.`` (``mobilevlm/model/vision_projector.py``); the blocks of the
first version are torchvision's inverted residuals of MobileNetV3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emo_edge.export.configs.networks import LDP_V2, V2_GRID

_SQUEEZED, _MULTIPLE = 4, 8


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map [N, C, h, w], at each of its places."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcitation(nn.Module):
    """Weights of the channels by their means over the map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _divisible(width // _SQUEEZED)
        self.fc1, self.fc2 = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to the same shape."""
        weights = self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        return nn.functional.hardsigmoid(weights) * x


class InvertedResidual(nn.Module):
    """Convolution of each channel, weights of the channels, convolution of each place."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        depthwise = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=width, bias=False)
        self.block = nn.Sequential(
            nn.Sequential(depthwise, ChannelNorm(width), nn.Hardswish()),
            SqueezeExcitation(width),
            nn.Sequential(nn.Conv2d(width, width, 1, bias=False), ChannelNorm(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to the same shape, or to half its sides."""
        changed: Tensor = self.block(x)
        return x + changed if self.residual else changed


class LdpBlock(nn.Module):
    """A two-layer projector and two inverted residuals, the second of stride 2."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Identity(), nn.Linear(input_size, output_size), nn.GELU(), nn.Linear(output_size, output_size)
        )
        self.mb_block = nn.Sequential(
            nn.Identity(), InvertedResidual(output_size, stride=1), InvertedResidual(output_size, stride=2)
        )


class Ldp(nn.Module):
    """MobileVLM's first projector."""

    def __init__(self, grid: int, input_size: int, output_size: int) -> None:
        super().__init__()
        self.grid, self.model = grid, LdpBlock(input_size, output_size)

    def forward(self, patches: Tensor) -> Tensor:
        """Return tokens [N, ceil(g/2)^2, E] of patches [N, g*g, D]."""
        projected = self.model.mlp(patches)
        return _as_rows(self.model.mb_block(_as_map(projected, self.grid)))


class LdpV2(nn.Module):
    """MobileVLM V2's projector: two layers, means of cells, and positions from a convolution of each channel."""

    def __init__(self, grid: int, input_size: int, output_size: int) -> None:
        super().__init__()
        self.grid = grid
        self.mlp = nn.ModuleDict({"mlp": _two_layers(input_size, output_size)})
        self.peg = nn.ModuleDict(
            {"peg": nn.Sequential(nn.Conv2d(output_size, output_size, 3, padding=1, groups=output_size))}
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Return tokens [N, 144, E] of patches [N, g*g, D]; g is a multiple of 12."""
        places, cell = _as_map(self.mlp["mlp"](patches), self.grid), self.grid // V2_GRID
        cells = torch.unflatten(torch.unflatten(places, 3, (V2_GRID, cell)), 2, (V2_GRID, cell))
        means = cells.mean(dim=(3, 5))
        return _as_rows(self.peg["peg"](means) + means)


def build_ldp(kind: str, grid: int, input_size: int, output_size: int) -> Ldp | LdpV2:
    """Build the projector of one of upstream's names for a grid of patches."""
    return (LdpV2 if kind == LDP_V2 else Ldp)(grid, input_size, output_size)


def _two_layers(input_size: int, output_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(input_size, output_size), nn.GELU(), nn.Linear(output_size, output_size))


def _as_map(rows: Tensor, grid: int) -> Tensor:
    return torch.unflatten(rows.transpose(1, 2), 2, (grid, grid))


def _as_rows(places: Tensor) -> Tensor:
    return places.flatten(2).transpose(1, 2)


def _divisible(width: int) -> int:
    """Round to a multiple of 8, at least 8 and not below nine tenths (MobileNet's rule)."""
    rounded = max(_MULTIPLE, (width + _MULTIPLE // 2) // _MULTIPLE * _MULTIPLE)
    return rounded + _MULTIPLE if rounded * 10 < width * 9 else rounded
