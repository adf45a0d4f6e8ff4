"""A small language model of experts with random weights: Qwen3-MoE of transformers, and its GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from emo_edge.benchmarks.random_vlm.files import randomize
from emo_edge.benchmarks.random_vlm.text import TEXT
from emo_edge.benchmarks.random_vlm.vocabulary import sentence_pieces

EXPERTS, USED = 6, 2
MERGED = ("gate_proj", "up_proj", "down_proj")
"""Matrices of an expert; the file has those of all experts in one tensor."""


def random_experts(path: Path) -> Any:
    """Write the file in float32, and return the model."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    vocabulary = sentence_pieces()
    config = Qwen3MoeConfig(
        vocab_size=len(vocabulary.tokens),
        num_experts=EXPERTS,
        num_experts_per_tok=USED,
        moe_intermediate_size=256,
        norm_topk_prob=True,
        head_dim=64,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        **TEXT,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = randomize(Qwen3MoeForCausalLM(config), 0)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3MOE])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(USED)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_file_type(0)
    vocabulary.write(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3MOE, config.num_hidden_layers)
    for name, tensor in _merged(model.state_dict(), config.num_hidden_layers).items():
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), tensor.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _merged(weights: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    plain = {name: tensor for name, tensor in weights.items() if ".experts." not in name}
    for layer in range(layers):
        prefix = f"model.layers.{layer}.mlp.experts."
        for part in MERGED:
            own = [weights[f"{prefix}{expert}.{part}.weight"] for expert in range(EXPERTS)]
            plain[f"{prefix}{part}.weight"] = torch.stack(own)
    return plain
