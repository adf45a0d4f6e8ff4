"""Forward of transformers for a random VLM: features of a picture, and logits of a prompt with them.

Where llama.cpp is known to compute something else than the model's authors, it is written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.random_vlms import Written


@torch.no_grad()
def transformers_features(written: Written, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the rows of a picture of the tower's own size, [rows, embedding]."""
    values = (image.astype(np.float32) / 255 - written.vlm.mean) / written.vlm.deviation
    pixels = torch.from_numpy(values.transpose(2, 0, 1)[None].copy())
    rows = FEATURES[written.family](written.vlm.model, pixels)
    return rows.reshape(-1, rows.shape[-1]).numpy()


def _qwen2_vl(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    side = pixels.shape[-1] // 14
    # Two equal frames; patches two by two, as Qwen2VLImageProcessor orders them.
    frames = pixels.repeat(2, 1, 1, 1).reshape(1, 2, 3, side // 2, 2, 14, side // 2, 2, 14)
    patches = frames.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(side * side, -1)
    return model.model.visual(patches, torch.tensor([[1, side, side]]))  # type: ignore[no-any-return]


def _llava(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """CLIP with its class token behind the patches, where llama.cpp puts it (its issue 25814), and LLaVA has it first.

    The positions and the rows that the projector reads are those of a class token in front. Where this stops being
    what libmtmd computes, `emo_edge.export.vlm.bundle` must no longer warn.
    """
    tower = model.model.vision_tower.vision_model
    patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    tokens = torch.cat([patches, tower.embeddings.class_embedding.view(1, 1, -1)], 1)
    hidden = tower.pre_layrnorm(tokens + tower.embeddings.position_embedding.weight)
    for layer in tower.encoder.layers[:2]:
        (hidden,) = layer(hidden, None, None)
    return model.model.multi_modal_projector(hidden[:, 1:])[0]  # type: ignore[no-any-return]


def _smolvlm(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    # Position k of n is k. transformers 4.57 multiplies k / n by 1 - 1e-6 before it looks k up, and gets k - 1.
    tower, layers = model.model.vision_model, model.model.vision_model.encoder
    patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    hidden = layers(inputs_embeds=patches + tower.embeddings.position_embedding.weight).last_hidden_state
    return model.model.connector(tower.post_layernorm(hidden))  # type: ignore[no-any-return]


def _internvl(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """InternViT with its class token behind the patches, as `_llava`: the projector reads the patches all the same."""
    tower = model.model.vision_tower
    patches = tower.embeddings.patch_embeddings(pixels)[0]
    tokens = torch.cat([patches, tower.embeddings.cls_token], 1)
    hidden = tower.encoder(tokens + tower.embeddings.position_embeddings).last_hidden_state[:, :-1]
    side = int(hidden.shape[1] ** 0.5)
    shuffled = model.model.pixel_shuffle(hidden.reshape(1, side, side, -1), scale_factor=0.5)
    return model.model.multi_modal_projector(shuffled.flatten(1, 2))  # type: ignore[no-any-return]


def _gemma3(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return model.model.get_image_features(pixels)  # type: ignore[no-any-return]


FEATURES: Mapping[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "llava": _llava,
    "qwen2-vl": _qwen2_vl,
    "smolvlm": _smolvlm,
    "internvl": _internvl,
    "gemma3": _gemma3,
}


@torch.no_grad()
def transformers_logits(
    written: Written, parts: list[list[int] | None], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the logits behind a prompt of tokens and, for None, a picture's rows, [vocabulary]."""
    model: Any = written.vlm.model
    config = model.config
    image_token = getattr(config, "image_token_id", None) or config.image_token_index
    ids = [token for part in parts for token in ([image_token] * len(features) if part is None else part)]
    tokens = torch.tensor([ids])
    embedded = model.get_input_embeddings()(tokens)
    embedded[tokens == image_token] = torch.from_numpy(np.tile(features, (parts.count(None), 1)))
    extra: dict[str, Any] = {}
    if written.family == "qwen2-vl":
        side = written.vlm.side // 14
        extra["position_ids"], _ = model.model.get_rope_index(tokens, torch.tensor([[1, side, side]]))
    language = model.model.text_model if written.family == "smolvlm" else model.model.language_model
    if written.family == "gemma3":
        # Not the language model alone: rows of a picture see each other.
        language, extra["token_type_ids"] = model.model, (tokens == image_token).long()
    hidden = language(inputs_embeds=embedded, **extra).last_hidden_state
    return model.lm_head(hidden)[0, -1].numpy()  # type: ignore[no-any-return]
