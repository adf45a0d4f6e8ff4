"""Both stages of ME-GraphAU: a Swin trunk, a node a unit, and messages between the nodes.

Luo et al., "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition" (IJCAI
2022, arXiv 2205.01782), sections 3 and 4; order of operations and constants as in ``model/ANFL.py`` and ``MEFL.py`` of
the authors' repository. In the first stage a node hears the nodes that are similar to it, in the second all of them,
each through a gate of the edge's own features. A unit's probability is a cosine already: here it becomes the logit of
that probability.
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
LAYERS = 2
"""Of the second stage's graph."""


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


class CrossAttention(nn.Module):
    """Attention with one head whose queries and keys are half as wide as its values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width // 2), nn.Linear(width, width // 2)
        self.value = nn.Linear(width, width)

    def weights(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Return the weights [..., T, S] of each place of ``asked`` [..., S, c] for each of ``asking`` [..., T, c]."""
        query, key = self.query(asking), self.key(asked)
        return torch.softmax(query @ key.transpose(-2, -1) * key.shape[-1] ** -0.5, dim=-1)


class EdgeFeatures(nn.Module):
    """Features of the edge between each two units: where the one looks in what the other one sees.

    Upstream projects and normalises them at every place of the map, and takes the mean of the places last. Both are
    affine, so that the mean comes first here.
    """

    def __init__(self, units: int, width: int) -> None:
        super().__init__()
        self.face, self.pair = CrossAttention(width), CrossAttention(width)
        self.project, self.bn = nn.Linear(width, width), BatchNorm(units * units, EPSILON)

    def forward(self, units: Tensor, tokens: Tensor) -> Tensor:
        """Map each unit's tokens [N, U, T, c] and those of the face [N, T, c] to edges [N, U * U, c].

        Edge i * U + j leads from unit j to unit i.
        """
        whole = tokens.unsqueeze(1)
        views = self.face.weights(units, whole) @ self.face.value(whole)
        asked, asking = views.unsqueeze(2), views.unsqueeze(1)
        mean = self.pair.weights(asking, asked).mean(-2, keepdim=True)
        edges: Tensor = self.bn(self.project(mean @ self.pair.value(asked)).flatten(1, 3))
        return edges


class GatedEdges(nn.Module):
    """A layer of a residual gated graph (Bresson and Laurent, arXiv 1711.07553): new edges, then new nodes.

    In ME-GraphAU the ReLU of the nodes comes after the addition; in OpenGraphAU (``relu_last`` False) before it.
    """

    def __init__(self, units: int, width: int, *, relu_last: bool) -> None:
        super().__init__()
        self.relu_last = relu_last
        self.same, self.others, self.target, self.source, self.edge = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.nodes_bn, self.edges_bn = BatchNorm(units, EPSILON), BatchNorm(units * units, EPSILON)

    def forward(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Map nodes [N, U, c] and edges [N, U * U, c] to the same."""
        units = nodes.shape[1]
        ends = (self.target(nodes).unsqueeze(2) + self.source(nodes).unsqueeze(1)).flatten(1, 2)
        edges = edges + F.relu(self.edges_bn(ends + self.edge(edges)))
        gates = torch.softmax(torch.unflatten(torch.sigmoid(edges), 1, (units, units)), dim=2)
        messages = (gates * self.others(nodes).unsqueeze(1)).sum(2) / units
        change = self.nodes_bn(self.same(nodes) + messages)
        return F.relu(nodes + change) if self.relu_last else nodes + F.relu(change), edges


class MeGraphAu(nn.Module):
    """Presence of each unit; the network gives no intensities."""

    def __init__(self, config: MeGraphAuConfig) -> None:
        super().__init__()
        self.config = config
        width, units = config.embed_dim << 3, len(config.units)
        self.trunk, self.norm = SwinTrunk(config), nn.LayerNorm(width)
        self.narrow = NormedLinear(width, width // 2)
        self.nodes = nn.ModuleList(NormedLinear(width // 2, width // 2) for _ in config.units)
        self.graph = SimilarNodes(units, width // 2, config.neighbours) if config.graph == "similar" else None
        self.edges = None if self.graph else EdgeFeatures(units, width // 2)
        self.layers = nn.ModuleList(
            GatedEdges(units, width // 2, relu_last=config.graph == "edges") for _ in range(0 if self.graph else LAYERS)
        )
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
        """Return the cosines between nodes and learned directions: [N, U].

        A learned direction is never negative, and a node is not unless the graph is OpenGraphAU's second one: only
        there may a cosine be below 0.
        """
        tokens = self.norm(self.trunk(pixels)[-1].flatten(2).transpose(1, 2))
        tokens = self.narrow(tokens)
        nodes = self._related(torch.stack([unit(tokens) for unit in self.nodes], dim=1), tokens)
        return (F.normalize(nodes, dim=-1) * F.normalize(F.relu(self.targets), dim=-1)).sum(-1)

    def _related(self, units: Tensor, tokens: Tensor) -> Tensor:
        """Return the nodes [N, U, c] after their messages, from each unit's tokens [N, U, T, c]."""
        nodes = units.mean(2)
        if self.graph is not None:
            return self.graph(nodes)  # type: ignore[no-any-return]
        assert self.edges is not None  # one of both is there
        edges = self.edges(units, tokens)
        for layer in self.layers:
            nodes, edges = layer(nodes, edges)
        return nodes
