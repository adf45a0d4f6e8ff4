"""Qwen2-VL at toy size."""

from __future__ import annotations

from collections.abc import Mapping

import gguf
import torch

from emo_edge.benchmarks.random_vlm.files import NAMED_BLOCKS, RandomVlm, randomize
from emo_edge.benchmarks.random_vlm.text import CHATML, TEXT
from emo_edge.benchmarks.random_vlm.vocabulary import byte_merges

BLOCKS = 3
"""The converter's table of names has no more layers of a projector than the tower has blocks."""


def qwen2_vl(seed: int = 0) -> RandomVlm:
    """Qwen2-VL: patches merged two by two, positions on a grid (M-RoPE)."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
    vocabulary, side = byte_merges("qwen2", control, "<|endoftext|>", "<|im_end|>"), 84
    text = {
        **TEXT,
        "vocab_size": len(vocabulary.tokens),
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [8, 12, 12]},
    }
    vision = {
        "depth": BLOCKS,
        "embed_dim": 32,
        "hidden_size": TEXT["hidden_size"],
        "num_heads": 4,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=vocabulary.id("<|image_pad|>"),
        vision_start_token_id=vocabulary.id("<|vision_start|>"),
        vision_end_token_id=vocabulary.id("<|vision_end|>"),
    )
    return RandomVlm(
        randomize(Qwen2VLForConditionalGeneration(config), seed),
        vocabulary,
        CHATML,
        gguf.MODEL_ARCH.QWEN2VL,
        "qwen2vl_merger",
        side,
        {
            "image_size": 560,
            "patch_size": 14,
            "embedding_length": 32,
            "feed_forward_length": int(TEXT["hidden_size"]),  # so the converter, for a key that libmtmd does not read
            "block_count": BLOCKS,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-6,
            "projection_dim": int(TEXT["hidden_size"]),
        },
        vision_prefixes=("model.visual.",),
        rope_sections=(8, 12, 12, 0),
        rename=_qwen_names,
        released={"architectures": ["Qwen2VLForConditionalGeneration"]},
    )


def _qwen_names(name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor] | None:
    """Split queries, keys and values, and the two frames of a patch."""
    if "patch_embed.proj" in name:
        return {"v.patch_embd.weight": tensor[:, :, 0], "v.patch_embd.weight.1": tensor[:, :, 1]}
    if ".qkv." in name:
        block, kind = name.split(".")[3], name.rpartition(".")[2]
        parts = zip(("attn_q", "attn_k", "attn_v"), tensor.chunk(3), strict=True)
        return {f"v.blk.{block}.{part}.{kind}": values for part, values in parts}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, NAMED_BLOCKS)
    stored = names.get_name(name.removeprefix("model."), (".weight", ".bias"))
    return None if stored is None else {stored: tensor}
