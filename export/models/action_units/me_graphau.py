"""First stage of ME-GraphAU: a Swin trunk, a node a unit, one message along the edges of similar nodes.

Luo et al., "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition" (IJCAI
2022, arXiv 2205.01782), sections 3.1 and 4; order of operations and constants as in ``model/ANFL.py`` of the authors'
repository. A unit's probability is a cosine between 0 and 1 already: here it becomes the logit of that probability.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_edge.export.configs.action_units import MeGraphAuConfig
from emo_edge.export.models.action_units.sacl import UnitOutputs
from emo_edge.export.models.init import init_weights, learned
from emo_edge.export.models.mini_xception import BatchNorm
from emo_edge.export.models.swin import SwinTrunk

LEAST = 2.0**-10
"""Probability below which, and 1 minus it above which, a unit's logit does not grow: float16 holds both."""
EPSILON = 1e-5
"""Of PyTorch's normalisations of a batch."""


class NormedLinear(nn.Module):
    """A linear layer of each token, normalised by the statistics of training, and a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc, self.bn = nn.Linear(inputs, outputs), BatchNorm(outputs, EPSILON)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [N, T, inputs] to [N, T, outputs]."""
        return F.relu(self.bn(self.fc(tokens).transpose(1, 2))).transpose(1, 2)


class SimilarNodes(nn.Module):
    """One message to each node from those that are most similar to it by their inner product."""

    def __init__(self, units: int, width: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.same, self.others = nn.Linear(width, width), nn.Linear(width, width)
        self.bn = BatchNorm(units, EPSILON)

    def forward(self, nodes: Tensor) -> Tensor:
        """Map nodes [N, U, c] to [N, U, c]."""
        similar = nodes @ nodes.transpose(1, 2)
        least = similar.topk(self.neighbours, dim=-1).values[..., -1:]
        edges = (similar >= least).to(nodes.dtype)
        scale = edges.sum(-1, keepdim=True).rsqrt()
        messages = (edges * scale * scale.transpose(1, 2)) @ self.others(nodes)
        return F.relu(nodes + self.bn(messages + self.same(nodes)))


class MeGraphAu(nn.Module):
    """Presence of each unit; the network gives no intensities."""

    def __init__(self, config: MeGraphAuConfig) -> None:
        super().__init__()
        self.config = config
        width, units = config.embed_dim << 3, len(config.units)
        self.trunk, self.norm = SwinTrunk(config), nn.LayerNorm(width)
        self.narrow = NormedLinear(width, width // 2)
        self.nodes = nn.ModuleList(NormedLinear(width // 2, width // 2) for _ in config.units)
        self.graph = SimilarNodes(units, width // 2, config.neighbours)
        self.targets = learned(units, width // 2, std=0.5)
        init_weights(self)

    def forward(self, pixels: Tensor) -> UnitOutputs:
        """Return logits of each unit's presence.

        Args:
            pixels: [N, 3, H, W] float, normalised with the config's mean and std.
        """
        cosines = self.probabilities(pixels).clamp(LEAST, 1 - LEAST)
        return UnitOutputs(torch.log(cosines) - torch.log(1 - cosines), None)

    def probabilities(self, pixels: Tensor) -> Tensor:
        """Return the cosines between nodes and learned directions, neither of which is ever negative: [N, U]."""
        tokens = self.norm(self.trunk(pixels)[-1].flatten(2).transpose(1, 2))
        tokens = self.narrow(tokens)
        nodes = self.graph(torch.stack([unit(tokens).mean(1) for unit in self.nodes], dim=1))
        return (F.normalize(nodes, dim=-1) * F.normalize(F.relu(self.targets), dim=-1)).sum(-1)
