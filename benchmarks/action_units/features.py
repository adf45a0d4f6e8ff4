"""Drawings with their action units, and what the frozen networks of emo-tiny see in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emo_edge.benchmarks.emo_tiny.data import Split, prepare
from emo_edge.export.models.action_units.sacl import STAGES
from emo_edge.export.reference.frames import normalised_pixels
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

TRAIN_SEED, TEST_SEED = 701, 711
"""Unlike every seed of emo-tiny's own training and evaluation."""
ACTIVE_FROM = 0.2
"""Intensity of 0 to 1 from which a unit counts as active, hidden behind something or not."""
BATCH = 64


@dataclass(frozen=True)
class Drawings:
    """Drawn faces and their units."""

    vision: NDArray[np.uint8]
    """Crops of the vision tower, [N, h, w, 3]."""
    face: NDArray[np.uint8]
    """Crops of the face network, [N, h, w, 3]."""
    intensities: Tensor
    """float32 [N, 17] from 0 to 5, in the order of `ACTION_UNITS`."""

    @property
    def active(self) -> Tensor:
        """float32 [N, 17], 1 for a unit that is there."""
        return (self.intensities >= 5 * ACTIVE_FROM).float()

    def __len__(self) -> int:
        return len(self.face)


def drawings(name: str, seed: int, count: int, cache: Path, *, workers: int) -> Drawings:
    """Draw faces, or open those that are drawn already below ``cache``."""
    arrays = prepare(Split(name, seed, count), cache, workers=workers, progress=lambda added: None)
    units = torch.from_numpy(5 * np.asarray(arrays["action_units"], np.float32))
    return Drawings(arrays["vision"], arrays["face"], units)


def trunk_stages(model: EmoLlamaForConditionalGeneration, given: Drawings) -> list[Tensor]:
    """Compute the maps of the face trunk's last three stages, float16 [N, C, h, w] each."""
    face, config = model.face, model.config.face
    assert face is not None and config is not None

    def stages(crops: Tensor) -> list[Tensor]:
        maps = face.backbone(normalised_pixels(crops, config.image_mean, config.image_std))
        return [maps[stage] for stage in STAGES]

    return _in_batches(given.face, stages)


def tower_tokens(model: EmoLlamaForConditionalGeneration, given: Drawings) -> Tensor:
    """Compute the vision tower's class token next to the mean of its patches, float16 [N, 2 D]."""
    config = model.config.vision

    def pooled(crops: Tensor) -> list[Tensor]:
        tokens = model.vision(normalised_pixels(crops, config.image_mean, config.image_std))
        return [torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=-1)]

    return _in_batches(given.vision, pooled)[0]


@torch.inference_mode()
def _in_batches(crops: NDArray[np.uint8], compute: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
    parts = [
        [part.half() for part in compute(torch.from_numpy(np.array(crops[start : start + BATCH])))]
        for start in range(0, len(crops), BATCH)
    ]
    # Out of inference mode, so that a head above them can be trained.
    return [torch.cat(column).clone() for column in zip(*parts, strict=True)]


class LinearHead(nn.Module):
    """A norm and one linear layer: the plain head that a network of units is compared with."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, units)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [N, U] of [N, D]."""
        return self.out(self.norm(features))  # type: ignore[no-any-return]
