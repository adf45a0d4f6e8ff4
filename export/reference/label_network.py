"""A network of labels in full precision: crops in, label logits out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.bundle.manifest import LABEL_LOGITS, VALUES
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.export.configs.networks import MiniXceptionConfig, OnnxGraphConfig
from emo_edge.export.models.mini_xception import GreyPixels, MiniXception
from emo_edge.export.reference.weights import load_weights
from emo_edge.export.user_graphs.label_graph import LABEL_GRAPH_NAME, LabelGraph
from emo_edge.tensors import Tensor


class LabelNetwork(nn.Module):
    """The network of a checkpoint, its weights named ``network.*``, with the normalisation of its crops."""

    def __init__(self, config: LabelNetworkConfig) -> None:
        super().__init__()
        self.config, sizes = config, mini_xception_of(config)
        self.pixels, self.network = GreyPixels(sizes), MiniXception(sizes, len(config.labels))

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> LabelNetwork:
        """Load a checkpoint directory in float32 on the CPU.

        Raises CheckpointError naming every problem of the config or every problem of the weights.
        """
        with torch.device("meta"):
            network = cls(LabelNetworkConfig.from_pretrained(directory))
        network.pixels = GreyPixels(mini_xception_of(network.config))
        load_weights(network, directory, torch.float32, "cpu")
        return network.eval()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute logits [N, labels] of uint8 RGB crops [N, H, W, 3]."""
        logits: torch.Tensor = self.network(self.pixels(image))
        return logits

    @property
    def crop(self) -> CropSettings:
        """Crop that the network reads."""
        return self.config.crop

    @torch.inference_mode()
    def graph_outputs(self, crops: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Compute what the exported graph gives for uint8 crops [N, H, W, 3], by its names."""
        return {LABEL_LOGITS: self(torch.from_numpy(crops)).numpy()}


class GraphLabelNetwork:
    """The network of a checkpoint whose weights are a user's own ONNX graph."""

    def __init__(self, config: LabelNetworkConfig, graph: LabelGraph) -> None:
        self.config, self.graph = config, graph

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, threads: int | None = None) -> GraphLabelNetwork:
        """Open a checkpoint directory on the CPU; raise CheckpointError for a graph that its config does not fit."""
        config, path = LabelNetworkConfig.from_pretrained(directory), Path(directory, LABEL_GRAPH_NAME)
        settings = graph_settings(config)
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; it is the network of this checkpoint")
        counts = (len(config.labels), len(config.values))
        graph = LabelGraph(path.read_bytes(), settings, *counts, name=str(path), threads=threads)
        if graph.outputs != settings.outputs:
            raise CheckpointError(f"{path}: has {graph.outputs} outputs, the config says {settings.outputs}")
        return cls(config, graph)

    @property
    def crop(self) -> CropSettings:
        """Crop that the network reads."""
        return self.config.crop

    def graph_outputs(self, crops: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Compute what the user's own file gives for uint8 crops [N, H, W, 3], by the exported graph's names."""
        columns, labels = self.graph.run(crops), len(self.config.labels)
        return {LABEL_LOGITS: columns[:, :labels]} | ({VALUES: columns[:, labels:]} if self.config.values else {})


AnyLabelNetwork = LabelNetwork | GraphLabelNetwork


def open_label_network(directory: str | Path, *, threads: int | None = None) -> AnyLabelNetwork:
    """Open a checkpoint of labels in full precision, whichever network it has; errors as of their constructors.

    ``threads`` are ONNX Runtime's, of a user's graph.
    """
    config = LabelNetworkConfig.from_pretrained(directory)
    if isinstance(config.network, OnnxGraphConfig):
        return GraphLabelNetwork.from_pretrained(directory, threads=threads)
    return LabelNetwork.from_pretrained(directory)


def graph_settings(config: LabelNetworkConfig) -> OnnxGraphConfig:
    """Return how a user's graph reads pictures; raise CheckpointError if the checkpoint has another network."""
    if not isinstance(config.network, OnnxGraphConfig):
        raise CheckpointError(f"network.architecture is {config.network.architecture}, no onnx_graph")
    return config.network


def mini_xception_of(config: LabelNetworkConfig) -> MiniXceptionConfig:
    """Return the sizes of a mini-Xception; raise CheckpointError if the checkpoint has another network."""
    if not isinstance(config.network, MiniXceptionConfig):
        raise CheckpointError(f"network.architecture is {config.network.architecture}, no mini_xception")
    return config.network


def label_network_shapes(config: LabelNetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that such a checkpoint holds, by name, without making them."""
    with torch.device("meta"):
        network = LabelNetwork(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
