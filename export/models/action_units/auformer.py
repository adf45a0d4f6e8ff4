"""AUFormer: a frozen vision transformer, and beside each of its sub-layers one small expert a unit.

Yuan et al., ECCV 2024, arXiv 2403.04697. A reconstruction from the paper's figures: its code was never published. The
window of the context-aware part, the widths and the heads are our choices.

An expert works on a map of a few channels: down, convolve, add several receptive fields and a context, up. Nothing
stands between the "up" of one expert and the "down" of the next one, so that both are one small matrix:
`FoldedAuFormer` computes the same without a state as wide as the tower for each unit, for export and for training.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.action_units import AuFormerConfig
from emo_edge.export.models.action_units.sacl import HIGHEST, UnitOutputs
from emo_edge.export.models.eva_vit import EvaVit
from emo_edge.export.models.init import init_weights, learned

UP_STD = 0.01
"""Of the last projection's first weights: near zero, so that training starts at the tower's own features."""
WINDOW = 3
"""Side of the context-aware part's window."""


class ExpertCore(nn.Module):
    """The middle of all experts of one place: grouped convolutions on maps of ``size`` channels a unit."""

    def __init__(self, config: AuFormerConfig) -> None:
        super().__init__()
        units, size = len(config.units), config.expert_size
        width = units * size
        self.units = units
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=units)
        # The three dilated convolutions and the 1x1 behind them are linear: one convolution each, added.
        self.fields = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=one, dilation=one, groups=units)
            for one in (config.dilations if config.multi_receptive else ())
        )
        if config.context_aware:
            self.context = nn.Conv2d(width, 3 * width, 1, groups=units)

    def forward(self, down: Tensor) -> Tensor:
        """Map [N, U r, h, w], after "down", to the same before "up"."""
        middle = self.conv(F.gelu(down))
        total = middle
        for field in self.fields:
            total = total + field(middle)
        if hasattr(self, "context"):
            total = total + self._context(middle)
        return F.gelu(total)

    def _context(self, middle: Tensor) -> Tensor:
        """Mix each channel over a window of 3 x 3, by softmax of query times key; outside the map are zeros."""
        parts = torch.unflatten(self.context(middle), 1, (self.units, 3, -1))
        query, key, value = (parts[:, :, place].flatten(1, 2) for place in range(3))
        windows = torch.unflatten(self._neighbours(torch.cat([key, value], dim=1)), 1, (-1, WINDOW * WINDOW))
        keys, values = windows.chunk(2, dim=1)
        scores = query[:, :, None] * keys
        # A softmax over a middle axis, as reductions: engines that transpose for one take several times as long.
        weights = (scores - scores.amax(2, keepdim=True)).exp()
        return (weights * values).sum(2) / weights.sum(2)

    def _neighbours(self, cells: Tensor) -> Tensor:
        """Return the nine neighbours of each cell, [N, 9 C, h, w] with those of a channel together, of [N, C, h, w].

        A convolution with ones: nine slices of a map whose batch varies would be hundreds of layers in TensorRT.
        """
        ones = torch.eye(WINDOW * WINDOW, dtype=cells.dtype, device=cells.device).reshape(-1, 1, WINDOW, WINDOW)
        channels = cells.shape[1]
        return F.conv2d(cells, ones.repeat(channels, 1, 1, 1), padding=WINDOW // 2, groups=channels)


class Experts(nn.Module):
    """One place of a block: the experts of all units, each with projections of its own."""

    def __init__(self, config: AuFormerConfig) -> None:
        super().__init__()
        units, size, width = len(config.units), config.expert_size, config.tower.hidden_size
        self.down = nn.Parameter(torch.empty(units, width, size))
        self.down_bias = nn.Parameter(torch.zeros(units, size))
        self.core = ExpertCore(config)
        self.up = learned(units, size, width, std=UP_STD)
        self.up_bias = nn.Parameter(torch.zeros(units, width))
        nn.init.normal_(self.down, std=width**-0.5)

    def forward(self, patches: Tensor, state: Tensor | None, grid: int) -> Tensor:
        """Return every expert's output [N, U, P, D] for patches [N, P, D] and the state [N, U, P, D] before it."""
        inputs = patches[:, None] if state is None else patches[:, None] + state
        down = inputs @ self.down + self.down_bias[:, None]
        middle = self.core(_to_map(down, grid))
        return _from_map(middle, self.up.shape[0]) @ self.up + self.up_bias[:, None]


class AuFormer(nn.Module):
    """The tower and its experts, as they are trained; only what is not the tower's learns."""

    def __init__(self, config: AuFormerConfig) -> None:
        super().__init__()
        self.config = config
        width, units = config.tower.hidden_size, len(config.units)
        self.tower = EvaVit(config.tower).requires_grad_(False)
        self.experts = nn.ModuleList(Experts(config) for _ in range(2 * config.tower.num_layers))
        self.norm = nn.LayerNorm(2 * width)
        self.presence = nn.Linear(2 * width, units)
        if config.intensity:
            self.intensity = nn.Linear(2 * width, units)
        self.expert_head = learned(units, width, std=width**-0.5)
        self.expert_bias = nn.Parameter(torch.zeros(units))
        for head in (self.presence, *([self.intensity] if config.intensity else [])):
            init_weights(head)
        for place in self.experts:
            init_weights(place.get_submodule("core"))

    def forward(self, pixels: Tensor) -> UnitOutputs:
        """Return presence and intensity for pixels [N, 3, H, W] float, normalised with the tower's mean and std.

        The literal network, as the paper draws it: what the folded one is compared with.
        """
        return self.heads(self.features(pixels)[0])

    def with_experts(self, pixels: Tensor) -> tuple[UnitOutputs, Tensor]:
        """Return the outputs and each expert's own logit [N, U], which trains the experts as well."""
        return FoldedAuFormer(self).with_experts(pixels)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tower's tokens [N, 1 + P, D] and the last experts' outputs [N, U, P, D]."""
        grid, x = self.config.tower.grid, embedded(self.tower, pixels)
        state: Tensor | None = None
        for place, block in enumerate(self.tower.blocks):
            for part, (norm, layer) in enumerate(sub_layers(block)):
                normal = norm(x)
                state = self.experts[2 * place + part](normal[:, 1:], state, grid)
                # The class token has no place on the map.
                x = x + layer(normal) + F.pad(state.mean(1), (0, 0, 1, 0))
        assert state is not None
        return x, state

    def heads(self, x: Tensor) -> UnitOutputs:
        """Return the outputs of tokens [N, 1 + P, D]."""
        pooled = self.norm(torch.cat([x[:, 0], x[:, 1:].mean(1)], dim=-1))
        intensity = HIGHEST * self.intensity(pooled).sigmoid() if self.config.intensity else None
        return UnitOutputs(self.presence(pooled), intensity)


class FoldedPlace(nn.Module):
    """`Experts` whose input is the middle of those before: its "down" after their "up" is one small matrix."""

    def __init__(self, now: Experts, before: Experts | None) -> None:
        super().__init__()
        units, width, size = now.down.shape
        self.core = now.core
        bias: Tensor = now.down_bias
        if before is not None:
            matrices = before.up @ now.down
            bias = bias + (before.up_bias[:, None] @ now.down)[:, 0]
            self.register_buffer("carry", matrices.transpose(1, 2).reshape(units * size, size, 1, 1))
        self.register_buffer("down", now.down.permute(0, 2, 1).reshape(units * size, width))
        self.register_buffer("down_bias", bias.flatten())
        # All experts' "up" and their mean: one matrix.
        self.register_buffer("up", now.up.reshape(units * size, width) / units)
        self.register_buffer("up_bias", now.up_bias.mean(0))

    def forward(self, patches: Tensor, middle: Tensor | None, grid: int) -> tuple[Tensor, Tensor]:
        """Return the middle [N, U r, h, w] and the mean of the experts' outputs [N, P, D]."""
        down = F.linear(patches, self.get_buffer("down"), self.get_buffer("down_bias"))
        inputs = torch.unflatten(down.transpose(1, 2), 2, (grid, grid))
        if middle is not None:
            inputs = inputs + F.conv2d(middle, self.get_buffer("carry"), groups=self.core.units)
        middle = self.core(inputs)
        return middle, middle.flatten(2).transpose(1, 2) @ self.get_buffer("up") + self.get_buffer("up_bias")


class FoldedAuFormer(nn.Module):
    """`AuFormer` with a side path that stays as narrow as the experts: equal outputs, and equal gradients.

    Its matrices are products of the model's present weights: make a new one after each step of a training.
    """

    def __init__(self, model: AuFormer) -> None:
        super().__init__()
        self.model = model
        experts = [cast(Experts, place) for place in model.experts]
        self.places = nn.ModuleList(
            FoldedPlace(now, before) for now, before in zip(experts, [None, *experts], strict=False)
        )

    def forward(self, pixels: Tensor) -> UnitOutputs:
        """Return presence and intensity as `AuFormer` does."""
        return self.model.heads(self._features(pixels)[0])

    def with_experts(self, pixels: Tensor) -> tuple[UnitOutputs, Tensor]:
        """Return the outputs and each expert's own logit [N, U]: of the mean of its last output over the patches."""
        x, middle = self._features(pixels)
        last = cast(Experts, self.model.experts[-1])
        means = torch.unflatten(middle.mean((2, 3)), 1, (len(last.up), -1))
        states = (means[:, :, None] @ last.up)[:, :, 0] + last.up_bias
        return self.model.heads(x), (states * self.model.expert_head).sum(-1) + self.model.expert_bias

    def _features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tower's tokens [N, 1 + P, D] and the middle of the last experts [N, U r, h, w]."""
        grid, x = self.model.config.tower.grid, embedded(self.model.tower, pixels)
        middle: Tensor | None = None
        for place, block in enumerate(self.model.tower.blocks):
            for part, (norm, layer) in enumerate(sub_layers(block)):
                normal = norm(x)
                middle, mean = self.places[2 * place + part](normal[:, 1:], middle, grid)
                x = x + layer(normal) + F.pad(mean, (0, 0, 1, 0))
        assert middle is not None
        return x, middle


def embedded(tower: EvaVit, pixels: Tensor) -> Tensor:
    """Return the tower's tokens [N, 1 + P, D] before its first block."""
    patches = tower.patch_embed(pixels)
    cls = tower.cls_token.to(patches.dtype).expand(patches.shape[0], -1, -1)
    return torch.cat([cls, patches], dim=1) + tower.pos_embed


def sub_layers(block: nn.Module) -> tuple[tuple[nn.Module, nn.Module], ...]:
    """Return norm and layer of a block's two places."""
    names = (("norm1", "attn"), ("norm2", "mlp"))
    return tuple((block.get_submodule(norm), block.get_submodule(layer)) for norm, layer in names)


def _to_map(tokens: Tensor, grid: int) -> Tensor:
    """Return [N, U r, h, w] of [N, U, P, r]."""
    return torch.unflatten(tokens.transpose(2, 3).flatten(1, 2), 2, (grid, grid))


def _from_map(cells: Tensor, units: int) -> Tensor:
    """Return [N, U, P, r] of [N, U r, h, w]."""
    return torch.unflatten(cells.flatten(2), 1, (units, -1)).transpose(2, 3)
