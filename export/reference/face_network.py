"""FaceXFormer as a checkpoint of its own: face facts without a language model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.export.configs.checkpoint import FaceXFormerConfig
from emo_edge.export.models.facexformer import FaceOutputs, FaceXFormer
from emo_edge.export.reference.crop_settings import face_crop_settings
from emo_edge.export.reference.frames import normalised_pixels
from emo_edge.export.reference.outputs import FACE_OUTPUTS
from emo_edge.export.reference.weights import check_layers, load_weights
from emo_edge.tensors import Tensor


class FaceNetwork(nn.Module):
    """The face network under the names that it has in a whole checkpoint (``face.*``)."""

    def __init__(self, config: FaceXFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.face = FaceXFormer(config.face)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> FaceNetwork:
        """Load a checkpoint directory in float32 on the CPU.

        Raises CheckpointError naming every problem of the config or every problem of the weights.
        """
        config = FaceXFormerConfig.from_pretrained(directory)
        check_layers(config.layers, directory)
        with torch.device("meta"):
            network = cls(config)
        load_weights(network, directory, torch.float32, "cpu")
        return network.eval()

    @torch.inference_mode()
    def outputs(self, crops: NDArray[np.uint8]) -> FaceOutputs:
        """Run every head but the masks on uint8 crops [N, h, w, 3]."""
        settings = self.config.face
        pixels = normalised_pixels(torch.from_numpy(crops), settings.image_mean, settings.image_std)
        outputs: FaceOutputs = self.face(pixels, with_segmentation=False)
        return outputs

    @property
    def crop(self) -> CropSettings:
        """Crop that the network reads."""
        return face_crop_settings(self.config.face)

    def graph_outputs(self, crops: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Compute what the exported graph gives for uint8 crops [N, h, w, 3], by its names."""
        outputs = self.outputs(crops)
        return {name: getattr(outputs, name).numpy() for name in FACE_OUTPUTS}


def face_network_shapes(config: FaceXFormerConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that such a checkpoint holds, by name, without making them."""
    with torch.device("meta"):
        network = FaceNetwork(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
