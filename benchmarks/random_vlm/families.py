"""Families of VLMs at toy size: classes of transformers, and keys and names of llama.cpp's converter."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import gguf
import torch

from emo_edge.benchmarks.random_vlm.files import NAMED_BLOCKS, RandomVlm, randomize
from emo_edge.benchmarks.random_vlm.vocabulary import byte_merges, sentence_pieces

TEXT = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
}
"""Rows of 256, so that K-quants apply."""
VICUNA = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PARTS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""Of the kind that takes lists of parts alone."""


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
        "depth": 2,
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
            "feed_forward_length": 64,
            "block_count": 2,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-6,
            "projection_dim": int(TEXT["hidden_size"]),
        },
        vision_prefixes=("model.visual.",),
        rope_sections=(8, 12, 12, 0),
        rename=_qwen_names,
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


def smolvlm(seed: int = 0) -> RandomVlm:
    """SmolVLM, an Idefics3: SigLIP's tower, patches shuffled into fewer, LLaMA with byte merges."""
    from transformers import LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration

    control = (
        "<|endoftext|>",
        "<|im_start|>",
        "<end_of_utterance>",
        "<fake_token_around_image>",
        "<global-img>",
        "<image>",
        "\n\n",
    )
    vocabulary, side = byte_merges("smollm", control, "<|im_start|>", "<end_of_utterance>"), 64
    text = LlamaConfig(vocab_size=len(vocabulary.tokens), rms_norm_eps=1e-5, pad_token_id=0, **TEXT)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": side,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
    }
    config = SmolVLMConfig(
        vision_config=vision, text_config=text, scale_factor=2, image_token_id=vocabulary.id("<image>")
    )
    return RandomVlm(
        randomize(SmolVLMForConditionalGeneration(config), seed),
        vocabulary,
        PARTS,
        gguf.MODEL_ARCH.LLAMA,
        "idefics3",
        side,
        {
            "image_size": side,
            "patch_size": 16,
            "embedding_length": 32,
            "feed_forward_length": 64,
            "block_count": 2,
            "attention.head_count": 4,
            "attention.layer_norm_epsilon": 1e-6,
            "projection_dim": text.hidden_size,
            "projector.scale_factor": 2,
            "preproc_image_size": side,
        },
        {"use_gelu": True},
        language_prefix="model.text_model.",
        vision_prefixes=("model.vision_model.", "model.connector."),
    )


FAMILIES: Mapping[str, Callable[[int], RandomVlm]] = {"llava": llava, "qwen2-vl": qwen2_vl, "smolvlm": smolvlm}
"""By name."""


def random_vlm(family: str, seed: int = 0) -> RandomVlm:
    """Return a random model of a family of `FAMILIES`, the same for every seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[family](seed)
