"""SmolVLM at toy size."""

from __future__ import annotations

from dataclasses import replace

import gguf

from emo_edge.benchmarks.random_vlm.files import RandomVlm, randomize
from emo_edge.benchmarks.random_vlm.text import PARTS, TEXT
from emo_edge.benchmarks.random_vlm.vocabulary import byte_merges


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
    plain, side = byte_merges("smollm", control, "<|im_start|>", "<end_of_utterance>"), 64
    vocabulary = replace(plain, pad=plain.id("<|endoftext|>"))
    text = LlamaConfig(vocab_size=len(vocabulary.tokens), rms_norm_eps=1e-5, pad_token_id=vocabulary.pad, **TEXT)
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
        vision_config=vision,
        text_config=text,
        scale_factor=2,
        image_token_id=vocabulary.id("<image>"),
        pad_token_id=vocabulary.pad,
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
        released={"text_config": {"architectures": ["VLlama3ForCausalLM"]}},
        preprocessor={"size": {"longest_edge": side}},
    )
