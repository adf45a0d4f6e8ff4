"""SigLIP's image tower: transformers' own module, without its final norm and its pooling head.

`emo_edge.export.onnx.transformers_tower` makes its graph with optimum's exporter. A tower of another kind that both
know is one class like this one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from emo_edge.export.configs.networks import VisionConfig
from emo_edge.export.models.init import init_weights


class SiglipVit(nn.Module):
    """The tower as LLaVA reads it: what enters a late layer, every patch, no class token (``siglip_encoder.py``)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = _transformers_config(config)
        tower = _transformers_tower(self.config)
        self.embeddings, self.encoder = tower.vision_model.embeddings, tower.vision_model.encoder
        init_weights(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return every patch's features [N, grid*grid, D], row-major, of [N, 3, H, W] normalised pixels."""
        return self.encoder(inputs_embeds=self.embeddings(pixels)).last_hidden_state  # type: ignore[no-any-return]

    def rebuild_positions(self) -> None:
        """Count the positions again, which are no weights, after a construction on the meta device."""
        count, device = self.embeddings.num_positions, self.embeddings.patch_embedding.weight.device
        self.embeddings.position_ids = torch.arange(count, device=device)[None]

    def as_transformers_model(self) -> Any:
        """Return transformers' model of the same weights, whose last hidden state are the features."""
        with torch.device("meta"):
            model = _transformers_tower(self.config)
        model.vision_model.embeddings, model.vision_model.encoder = self.embeddings, self.encoder
        model.vision_model.post_layernorm = nn.Identity()
        return model.eval()


def _transformers_config(config: VisionConfig) -> Any:
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(
        hidden_size=config.hidden_size,
        intermediate_size=config.mlp_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        layer_norm_eps=config.layer_norm_eps,
        vision_use_head=False,
    )


def _transformers_tower(config: Any) -> Any:
    from transformers import SiglipVisionModel

    return SiglipVisionModel(config)
