"""SACL-AU on a face trunk: multi-scale features, a node a unit, and a graph that each stage adjusts.

Liu et al., "Self-adjusting correlation learning", arXiv 2308.07770. A reconstruction: the paper says that the graph of
the units is learned and updated from stage to stage, and that features of several scales are fused; every layer below
is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.action_units import SaclConfig
from emo_edge.export.configs.networks import FaceConfig
from emo_edge.export.models.init import init_weights, learned

STAGES = (1, 2, 3)
"""Stages of the trunk that are read, of four."""
HIGHEST = 5.0
"""Of an intensity, level E."""


class UnitOutputs(NamedTuple):
    """Outputs of a batch of N faces for U units."""

    presence: Tensor
    """[N, U] logits."""
    intensity: Tensor | None
    """[N, U] from 0 to 5; None where the network gives none."""


class MultiScale(nn.Module):
    """Three convolutions of growing dilation beside each other, and a residual."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(width, width // 4, 3, padding=one, dilation=one) for one in dilations)
        self.fuse = nn.Conv2d(len(dilations) * (width // 4), width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, c, h, w] to [N, c, h, w]."""
        scales = torch.cat([F.gelu(branch(features)) for branch in self.branches], dim=1)
        return features + self.fuse(scales)  # type: ignore[no-any-return]


class UnitNodes(nn.Module):
    """One query a unit, which attends over the map."""

    def __init__(self, units: int, width: int, cells: int) -> None:
        super().__init__()
        self.queries = learned(units, width, std=width**-0.5)
        self.position = learned(cells, width)
        self.out = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return nodes [N, U, c] of a map [N, c, h, w]."""
        cells = features.flatten(2).transpose(1, 2)
        scores = self.queries @ (cells + self.position).transpose(1, 2) * self.queries.shape[1] ** -0.5
        return F.gelu(self.out(scores.softmax(-1) @ cells))


class Correlation(nn.Module):
    """One step of the graph: adjust it by the nodes, keep its strongest edges, send messages along them."""

    def __init__(self, config: SaclConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.neighbours, self.adjusts = config.neighbours, config.graph == "self_adjusting"
        if self.adjusts:
            self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
            self.mix = nn.Parameter(torch.zeros(()))
        self.message = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, nodes: Tensor, graph: Tensor) -> tuple[Tensor, Tensor]:
        """Return new nodes [N, U, c] and the new graph [N, U, U] of scores."""
        if self.adjusts:
            weight = self.mix.sigmoid()
            scores = self.query(nodes) @ self.key(nodes).transpose(1, 2) * nodes.shape[2] ** -0.5
            graph = (1 - weight) * graph + weight * scores
        least = graph.topk(self.neighbours, dim=-1).values[..., -1:]
        edges = graph.masked_fill(graph < least, float("-inf")).softmax(-1)
        return self.norm(nodes + self.message(edges @ nodes)), graph


class Sacl(nn.Module):
    """Action units of a face from the last three stages of its trunk, without a second trunk."""

    def __init__(self, config: SaclConfig, face: FaceConfig) -> None:
        super().__init__()
        self.config = config
        width, units = config.hidden_size, len(config.units)
        sides = [-(-face.map_size // (1 << stage)) for stage in STAGES]
        self.narrow = nn.ModuleList(nn.Conv2d(face.embed_dim << stage, width, 1) for stage in STAGES)
        self.scales = nn.ModuleList(
            MultiScale(width, config.dilations) if config.multi_scale else nn.Identity() for _ in STAGES
        )
        self.nodes = nn.ModuleList(UnitNodes(units, width, side * side) for side in sides)
        if config.graph != "none":
            self.graph = nn.Parameter(torch.zeros(units, units))
            self.steps = nn.ModuleList(Correlation(config) for _ in STAGES)
        self.presence = self._head(units)
        if config.intensity:
            self.intensity = self._head(units)
        init_weights(self)

    def _head(self, units: int) -> nn.ParameterDict:
        width = len(STAGES) * self.config.hidden_size
        return nn.ParameterDict({"weight": learned(units, width, std=width**-0.5), "bias": torch.zeros(units)})

    def forward(self, stages: Sequence[Tensor]) -> UnitOutputs:
        """Return presence and intensity of each unit.

        Args:
            stages: the trunk's four maps [N, C << s, h >> s, w >> s].
        """
        nodes = self._nodes(stages)
        presence = self._scores(nodes, self.presence)
        if not self.config.intensity:
            return UnitOutputs(presence, None)
        return UnitOutputs(presence, HIGHEST * self._scores(nodes, self.intensity).sigmoid())

    def _nodes(self, stages: Sequence[Tensor]) -> Tensor:
        """Return the nodes of all stages next to each other, [N, U, 3 c]."""
        units = len(self.config.units)
        graph = self.graph.expand(stages[-1].shape[0], units, units) if self.config.graph != "none" else None
        levels = []
        for place, stage in enumerate(STAGES):
            features = self.scales[place](F.gelu(self.narrow[place](stages[stage])))
            nodes = self.nodes[place](features)
            if graph is not None:
                nodes, graph = self.steps[place](nodes, graph)
            levels.append(nodes)
        return torch.cat(levels, dim=-1)

    def _scores(self, nodes: Tensor, head: nn.ParameterDict) -> Tensor:
        weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
        return (nodes * weight).sum(-1) + bias
