"""Gemma 3 at toy size."""

from __future__ import annotations

from collections.abc import Mapping

import gguf
import torch

from emo_edge.benchmarks.random_vlm.files import RandomVlm, randomize
from emo_edge.benchmarks.random_vlm.text import GEMMA, TEXT
from emo_edge.benchmarks.random_vlm.vocabulary import sentence_pieces

CONTROL = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")
LAYERS = 6
"""Five with a sliding window, one that sees everything: the pattern that the file format takes for granted."""
WINDOW = 24
"""More than the picture's rows and less than a prompt."""


def gemma3(seed: int = 0) -> RandomVlm:
    """Gemma 3: SigLIP's tower, patches averaged in squares, rows of a picture that all see each other."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig

    vocabulary, side = sentence_pieces(CONTROL, add_space=False), 64
    text = Gemma3TextConfig(
        vocab_size=len(vocabulary.tokens),
        **TEXT
        | {
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": 2,
            "head_dim": 64,
            "query_pre_attn_scalar": 64,
            "rms_norm_eps": 1e-6,
            "sliding_window": WINDOW,
            "rope_theta": 1e6,
            "rope_local_base_freq": 10000.0,
            "tie_word_embeddings": True,
        },
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": side,
        "patch_size": 8,
        "hidden_act": "gelu_pytorch_tanh",
        "vision_use_head": False,
    }
    config = Gemma3Config(
        vision_config=vision,
        text_config=text,
        mm_tokens_per_image=16,
        image_token_index=vocabulary.id("<image_soft_token>"),
        boi_token_index=vocabulary.id("<start_of_image>"),
        eoi_token_index=vocabulary.id("<end_of_image>"),
    )
    return RandomVlm(
        randomize(Gemma3ForConditionalGeneration(config), seed),
        vocabulary,
        GEMMA,
        gguf.MODEL_ARCH.GEMMA3,
        "gemma3",
        side,
        {
            "image_size": side,
            "patch_size": 8,
            "embedding_length": 32,
            "feed_forward_length": 64,
            "block_count": 2,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-6,
            "projection_dim": text.hidden_size,
            "projector.scale_factor": 2,
        },
        {"use_gelu": True},
        vision_prefixes=("model.vision_tower.", "model.multi_modal_projector."),
        rename=_names,
        preprocessor={"image_seq_length": config.mm_tokens_per_image},
    )


def _names(name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor] | None:
    """Name the projection, and write the norm's factor, of which transformers keeps what is above one."""
    if name.endswith("mm_input_projection_weight"):
        return {"mm.input_projection.weight": tensor}
    if name.endswith("mm_soft_emb_norm.weight"):
        return {"mm.soft_emb_norm.weight": tensor + 1}
    return None
