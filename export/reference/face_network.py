"""Networks that are a checkpoint of their own, without a language model: FaceXFormer, and those of action units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.action_units import MeGraphAuConfig
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig, FaceXFormerConfig
from emo_edge.export.models.action_units.auformer import AuFormer
from emo_edge.export.models.action_units.me_graphau import MeGraphAu
from emo_edge.export.models.action_units.sacl import Sacl
from emo_edge.export.models.facexformer import FaceXFormer
from emo_edge.export.reference.crop_settings import face_crop_settings
from emo_edge.export.reference.frames import named_outputs, named_units, normalised_pixels
from emo_edge.export.reference.weights import check_layers, load_weights, save_weights
from emo_edge.tensors import Tensor

PREFIXES = ("face.", "units.")
"""Of its weights in a whole checkpoint."""


class FaceNetwork(nn.Module):
    """The face network under the names that it has in a whole checkpoint (``face.*``)."""

    def __init__(self, config: FaceXFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.face = FaceXFormer(config.face)
        self.units = Sacl(config.action_units, config.face) if config.action_units else None

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> FaceNetwork:
        """Load a checkpoint directory in float32 on the CPU.

        Raises CheckpointError naming every problem of the config or every problem of the weights.
        """
        return cls._loaded(FaceXFormerConfig.from_pretrained(directory), directory, ("",))

    @classmethod
    def of_whole(cls, directory: str | Path) -> FaceNetwork:
        """Load the face network of a checkpoint that has a language model, too.

        Raises CheckpointError as `from_pretrained` does, and for a checkpoint without a face network.
        """
        whole = EmoLlamaConfig.from_pretrained(directory)
        if whole.face is None:
            raise CheckpointError(f"{directory}: a checkpoint without a face network")
        config = FaceXFormerConfig(
            face=whole.face,
            action_units=whole.action_units,
            face_labels=whole.face_labels,
            detector=whole.detector,
            provenance=whole.provenance,
        )
        return cls._loaded(config, directory, PREFIXES)

    @classmethod
    def _loaded(cls, config: FaceXFormerConfig, directory: str | Path, only: tuple[str, ...]) -> FaceNetwork:
        check_layers(config.layers, directory)
        with torch.device("meta"):
            network = cls(config)
        load_weights(network, directory, torch.float32, "cpu", only=only)
        return network.eval()

    @property
    def crop(self) -> CropSettings:
        """Crop that the network reads."""
        return face_crop_settings(self.config.face)

    @torch.inference_mode()
    def graph_outputs(self, crops: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Compute what the exported graph gives for uint8 crops [N, h, w, 3], by its names, in one trunk pass."""
        settings = self.config.face
        stages = self.face.backbone(normalised_pixels(torch.from_numpy(crops), settings.image_mean, settings.image_std))
        units = None if self.units is None else self.units(stages)
        outputs = named_outputs(self.face.decode(stages, with_segmentation=False), units)
        return {name: value.numpy() for name, value in outputs.items()}


def face_network_shapes(config: FaceXFormerConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that such a checkpoint holds, by name, without making them."""
    with torch.device("meta"):
        network = FaceNetwork(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


class AuNetwork(nn.Module):
    """The network of a checkpoint, its weights named ``network.*``."""

    def __init__(self, config: AuNetworkConfig) -> None:
        super().__init__()
        self.config = config
        own = config.network
        self.network = MeGraphAu(own) if isinstance(own, MeGraphAuConfig) else AuFormer(own)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> AuNetwork:
        """Load a checkpoint directory in float32 on the CPU.

        Raises CheckpointError naming every problem of the config or every problem of the weights.
        """
        config = AuNetworkConfig.from_pretrained(directory)
        check_layers(config.layers, directory)
        with torch.device("meta"):
            network = cls(config)
        load_weights(network, directory, torch.float32, "cpu")
        return network.eval()

    def save_pretrained(self, directory: str | Path) -> None:
        """Write config and weights into a directory that is there."""
        self.config.save_pretrained(directory)
        save_weights(self, Path(directory))

    @property
    def crop(self) -> CropSettings:
        """Crop that the network reads."""
        return self.config.crop

    @torch.inference_mode()
    def graph_outputs(self, crops: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Compute what the exported graph gives for uint8 crops [N, h, w, 3], by its names, without folding."""
        own = self.config.network
        outputs = self.network(normalised_pixels(torch.from_numpy(crops), own.image_mean, own.image_std))
        return {name: value.numpy() for name, value in named_units(outputs).items()}


def au_network_shapes(config: AuNetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that such a checkpoint holds, by name, without making them."""
    with torch.device("meta"):
        network = AuNetwork(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
