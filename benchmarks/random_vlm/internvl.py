"""InternVL3 at toy size."""

from __future__ import annotations

from collections.abc import Mapping

import gguf
import torch

from emo_edge.benchmarks.random_vlm.files import RandomVlm, randomize
from emo_edge.benchmarks.random_vlm.text import CHATML, TEXT
from emo_edge.benchmarks.random_vlm.vocabulary import byte_merges

PROJECTOR = {"layer_norm": "mm.model.mlp.0", "linear_1": "mm.model.mlp.1", "linear_2": "mm.model.mlp.3"}
BLOCKS = 4
"""The converter's table of names has no more layers of a projector than the tower has blocks."""
PUBLISHED = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.embeddings.cls_token": "vision_model.embeddings.class_embedding",
    "model.vision_tower.embeddings.position_embeddings": "vision_model.embeddings.position_embedding",
    "model.vision_tower.embeddings.patch_embeddings.projection.": "vision_model.embeddings.patch_embedding.",
    "model.vision_tower.encoder.layer.": "vision_model.encoder.layers.",
    ".attention.projection_layer.": ".attn.proj.",
    ".layernorm_before.": ".norm1.",
    ".layernorm_after.": ".norm2.",
    ".lambda_": ".ls",
    "model.multi_modal_projector.layer_norm.": "mlp1.0.",
    "model.multi_modal_projector.linear_1.": "mlp1.1.",
    "model.multi_modal_projector.linear_2.": "mlp1.3.",
}
"""Parts of transformers' names to those of OpenGVLab's checkpoints."""
QUERY, PARTS = ".attention.q_proj.", (".attention.q_proj.", ".attention.k_proj.", ".attention.v_proj.")
TILES = (1, 12)
"""Fewest and most that a picture larger than the tower's is cut into."""


def internvl(seed: int = 0) -> RandomVlm:
    """InternVL3: InternViT with a class token and layer scale, patches shuffled into fewer, Qwen2."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config

    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
    vocabulary, side = byte_merges("qwen2", control, "<|endoftext|>", "<|im_end|>"), 56
    text = Qwen2Config(vocab_size=len(vocabulary.tokens), rms_norm_eps=1e-6, **TEXT | {"num_key_value_heads": 2})
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 4,
        "attention_bias": True,
        "image_size": [side, side],
        "patch_size": [14, 14],
        "use_mean_pooling": True,
    }
    config = InternVLConfig(
        vision_config=vision, text_config=text, image_token_id=vocabulary.id("<IMG_CONTEXT>"), downsample_ratio=0.5
    )
    return RandomVlm(
        randomize(InternVLForConditionalGeneration(config), seed),
        vocabulary,
        CHATML,
        gguf.MODEL_ARCH.QWEN2,
        "internvl",
        side,
        {
            "image_size": side,
            "patch_size": 14,
            "embedding_length": 32,
            "feed_forward_length": 64,
            "block_count": BLOCKS,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-6,
            "projection_dim": text.hidden_size,
            "projector.scale_factor": 2,
            "preproc_min_tiles": TILES[0],
            "preproc_max_tiles": TILES[1],
        },
        {"use_gelu": True},
        vision_prefixes=("model.vision_tower.", "model.multi_modal_projector."),
        rename=_names,
        published=_published,
        released={
            "min_dynamic_patch": TILES[0],
            "max_dynamic_patch": TILES[1],
            "vision_config": {"architectures": ["InternVisionModel"]},
            "text_config": {"architectures": ["Qwen2ForCausalLM"]},
        },
    )


def _names(name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor] | None:
    """Name the projector as InternVL's own code does, and what has no ``.weight`` in transformers."""
    for own, stored in PROJECTOR.items():
        if f"projector.{own}." in name:
            return {f"{stored}.{name.rpartition('.')[2]}": tensor}
    if name.endswith("cls_token"):
        return {"v.class_embd": tensor}
    if name.endswith("position_embeddings"):
        return {"v.position_embd.weight": tensor}
    if name.endswith(("lambda_1", "lambda_2")):
        return {f"v.blk.{name.split('.')[4]}.ls{name[-1]}.weight": tensor}
    return None


def _published(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights as OpenGVLab publishes them: queries, keys and values in one matrix."""
    renamed = {}
    for name, tensor in weights.items():
        if QUERY in name:
            fused = torch.cat([weights[name.replace(QUERY, part)] for part in PARTS])
            renamed[_published_name(name.replace(QUERY, ".attn.qkv."))] = fused
        elif not any(part in name for part in PARTS):
            renamed[_published_name(name)] = tensor.contiguous()
    return renamed


def _published_name(name: str) -> str:
    for own, published in PUBLISHED.items():
        name = name.replace(own, published)
    return name
