"""Sizes of the real models whose structure a checkpoint of random weights may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_edge.export.configs.upstream_crops import CLIP_RESAMPLE, FACE_RESAMPLE, LANDMARK_RESAMPLE

VICUNA_13B = {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
TINY_LANGUAGE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
LLAMA_1B = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
}
"""Of TinyLlama-1.1B."""
PIL_CROPS = {"vision": {"resample": CLIP_RESAMPLE, "clip_squaring": "centred"}, "face": {"resample": FACE_RESAMPLE}}
EMOLA: Mapping[str, Any] = {
    "vision": {
        "tower": "clip",
        "image_size": 336,
        "hidden_size": 1024,
        "num_layers": 23,
        "num_heads": 16,
        "mlp_size": 4096,
        "layer_norm_eps": 1e-5,
        "resample": CLIP_RESAMPLE,
    },
    "connector": {"compress_type": "none", "qformer": None},
    "face": None,
    "landmark": {"resample": LANDMARK_RESAMPLE},
    "prompt": {"use_demographics": False},
}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama-vid-7b": PIL_CROPS,
    "llama-vid-13b": {"language": VICUNA_13B, **PIL_CROPS},
    "llama-vid-tiny": {"language": TINY_LANGUAGE, **PIL_CROPS},
    "emola-7b": EMOLA,
    "emola-1b": {**EMOLA, "language": LLAMA_1B},
}
"""Differences from ``EmoLlamaConfig``'s defaults, which are LLaMA-VID-7B and FaceXFormer.

``llama-vid-tiny`` has the networks at true size and a language model that takes a second; ``emola-1b`` has EmoLA's
networks and a language model of TinyLlama's size, which nobody published: a small machine exports it in minutes.
"""
