"""A network of labels in full precision: crops in, label logits out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.bundle.manifest import LABEL_LOGITS
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.export.models.mini_xception import GreyPixels, MiniXception
from emo_edge.export.reference.weights import load_weights
from emo_edge.tensors import Tensor


class LabelNetwork(nn.Module):
    """The network of a checkpoint, its weights named ``network.*``, with the normalisation of its crops."""

    def __init__(self, config: LabelNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.pixels, self.network = GreyPixels(config.network), MiniXception(config.network, len(config.labels))

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> LabelNetwork:
        """Load a checkpoint directory in float32 on the CPU.

        Raises CheckpointError naming every problem of the config or every problem of the weights.
        """
        with torch.device("meta"):
            network = cls(LabelNetworkConfig.from_pretrained(directory))
        network.pixels = GreyPixels(network.config.network)
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


def label_network_shapes(config: LabelNetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that such a checkpoint holds, by name, without making them."""
    with torch.device("meta"):
        network = LabelNetwork(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
