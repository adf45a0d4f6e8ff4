"""LLaVA-1.5 at toy size."""

from __future__ import annotations

from collections.abc import Mapping

import gguf
import torch

from emo_edge.benchmarks.random_vlm.files import RandomVlm, randomize
from emo_edge.benchmarks.random_vlm.text import TEXT, VICUNA
from emo_edge.benchmarks.random_vlm.vocabulary import sentence_pieces


def llava(seed: int = 0) -> RandomVlm:
    """LLaVA-1.5: CLIP's tower read one layer before its last, a projector of two layers, LLaMA."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vocabulary, side = sentence_pieces(), 56
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=side, patch_size=14
    )
    text = LlamaConfig(vocab_size=len(vocabulary.tokens), rms_norm_eps=1e-5, **TEXT)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=len(vocabulary.tokens) - 1)
    return RandomVlm(
        randomize(LlavaForConditionalGeneration(config), seed),
        vocabulary,
        VICUNA,
        gguf.MODEL_ARCH.LLAMA,
        "mlp",
        side,
        {
            "image_size": side,
            "patch_size": 14,
            "embedding_length": 32,
            "feed_forward_length": 64,
            "block_count": 2,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-5,
            "projection_dim": text.hidden_size,
        },
        {"use_gelu": False},
        feature_layer=2,
        vision_prefixes=("model.vision_tower.", "model.multi_modal_projector."),
        rename=_llava_names,
    )


def _llava_names(name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor] | None:
    """Leave out the last layer and the norm behind it, which the projector never reads."""
    if ".layers.2." in name or "post_layernorm" in name:
        return {}
    projector = {"linear_1": "mm.0", "linear_2": "mm.2"}
    for own, stored in projector.items():
        if own in name:
            return {f"{stored}.{name.rpartition('.')[2]}": tensor}
    return None
