"""Files next to a LLaVA's weights: each kind is mutated alone, and the whole model is imported with it."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.hostile.mutate import mutated_json
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from emo_edge.export.importers.tokenizers.tokenizer_files import SETTINGS_NAME, byte_level_tokenizer, end_token
from emo_edge.export.reference.tokenizer import LANGUAGE_JSON_NAME, LANGUAGE_MODEL_NAME, PATTERN, QWEN2_PATTERN
from emo_edge.export.reference.weights import WEIGHTS_NAME

WIDTH, MLP, LAYERS, VOCABULARY, PATCH, GRID = 32, 48, 2, 770, 14, 2
LANGUAGE_SIZES = {
    "hidden_size": WIDTH,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512,
    "rope_theta": 500.0,
}
CONFIG_NAME = "config.json"
ADDED = {"<image>": 768, "<pad>": 769}
WORD = "em"
ROWS = 400
"""Of the tokenizers that are read without a model."""


def _configs() -> Sequence[bytes]:
    """Return the settings as LLaVA's own trainer writes them, and as transformers does."""
    original = {
        "model_type": "llava",
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "clip-tuned",
        "image_aspect_ratio": "pad",
        "eos_token_id": 2,
        **LANGUAGE_SIZES,
    }
    tower = {"hidden_size": WIDTH, "intermediate_size": MLP, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    nested = {
        "model_type": "llava",
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "text_config": {"model_type": "llama", "rope_scaling": None, "vocab_size": VOCABULARY, **LANGUAGE_SIZES},
        "vision_config": {**tower, "model_type": "clip_vision_model", "image_size": PATCH * GRID, "patch_size": PATCH},
    }
    return [_json(original), _json(nested)]


def _weights() -> dict[str, torch.Tensor]:
    """Return zeros under the names of LLaVA's own code."""
    tower, shapes = "model.vision_tower.vision_tower.vision_model.", dict[str, tuple[int, ...]]()
    shapes |= {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH)}
    shapes |= {"model.norm.weight": (WIDTH,), f"{tower}embeddings.class_embedding": (WIDTH,)}
    shapes[f"{tower}embeddings.patch_embedding.weight"] = (WIDTH, 3, PATCH, PATCH)
    shapes[f"{tower}embeddings.position_embedding.weight"] = (1 + GRID * GRID, WIDTH)
    shapes |= _linear("model.mm_projector.0", WIDTH, WIDTH) | _linear("model.mm_projector.2", WIDTH, WIDTH)
    for norm in ("pre_layrnorm", "post_layernorm"):
        shapes |= _norm(tower + norm)
    for layer in range(LAYERS):
        own, block = f"model.layers.{layer}.", f"{tower}encoder.layers.{layer}."
        shapes |= {f"{own}self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        shapes |= {f"{own}mlp.{name}_proj.weight": (MLP, WIDTH) for name in ("gate", "up")}
        shapes |= {f"{own}mlp.down_proj.weight": (WIDTH, MLP)}
        shapes |= {f"{own}{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{block}self_attn.{name}", WIDTH, WIDTH)
        shapes |= _linear(f"{block}mlp.fc1", MLP, WIDTH) | _linear(f"{block}mlp.fc2", WIDTH, MLP)
        shapes |= _norm(f"{block}layer_norm1") | _norm(f"{block}layer_norm2")
    return {name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def _settings() -> Sequence[bytes]:
    """Return ``tokenizer_config.json`` with added tokens, as transformers writes it."""
    tokens = {str(number): {"content": text, "special": True} for text, number in ADDED.items()}
    return [_json({"added_tokens_decoder": tokens, "model_max_length": 2048, "eos_token": "</s>"})]


def _pieces_of_bytes() -> Sequence[bytes]:
    """Return a ``tokenizer.json`` of LLaMA's kind: a few letters, and bytes for all others."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *WORD, WORD]
    spaces = [{"type": "Prepend", "prepend": "\u2581"}, _replace(" ", "\u2581")]
    back = [_replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    whole = {
        "version": "1.0",
        "added_tokens": [_added(number, text) for number, text in enumerate(pieces[:3])],
        "normalizer": {"type": "Sequence", "normalizers": spaces},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": back},
        "model": {**model, "vocab": {piece: number for number, piece in enumerate(pieces)}, "merges": [" ".join(WORD)]},
    }
    return [_json(whole)]


def _bytes_as_letters() -> Sequence[bytes]:
    """Return a ``tokenizer.json`` of Qwen2's kind, with the pattern that cuts its text."""
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = [*sorted(ByteLevel.alphabet()), WORD, "<|im_end|>"]
    split = {"type": "Split", "pattern": {PATTERN: QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    whole = {
        "version": "1.0",
        "added_tokens": [_added(len(pieces) - 1, pieces[-1])],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": level,
        "decoder": level,
        "model": {
            "type": "BPE",
            "byte_fallback": False,
            "vocab": {piece: number for number, piece in enumerate(pieces[:-1])},
            "merges": [" ".join(WORD)],
        },
    }
    return [_json(whole)]


def _added(number: int, text: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": text, **flags}


def _replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode()


@lru_cache
def _model() -> Path:
    """Write the weights; return their folder."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    save_file(_weights(), folder / WEIGHTS_NAME)
    return folder


def _imported(path: Path, *, tokenizer: bool = True) -> None:
    """Import the model in whose folder ``path`` lies."""
    folder = path.parent
    if not (folder / WEIGHTS_NAME).exists():
        (folder / WEIGHTS_NAME).symlink_to(_model() / WEIGHTS_NAME)
        if tokenizer:
            shutil.copy(packaged_checkpoint() / LANGUAGE_MODEL_NAME, folder)
        if path.name != CONFIG_NAME:
            (folder / CONFIG_NAME).write_bytes(_configs()[0])
    target = folder / "imported"
    try:
        checkpoint_from_llava(LlavaPieces(folder), target, report=lambda line: None)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _read_byte_level(path: Path) -> None:
    (path.parent / SETTINGS_NAME).write_text(json.dumps({"eos_token": "<|im_end|>"}, allow_nan=False), encoding="ascii")
    byte_level_tokenizer(path.parent, ROWS, lambda line: None)
    end_token(path.parent)


LLAVA_CONFIG = Kind(CONFIG_NAME, _configs, mutated_json, _imported)
LLAVA_SETTINGS = Kind(SETTINGS_NAME, _settings, mutated_json, _imported)
LLAVA_TOKENIZER = Kind(LANGUAGE_JSON_NAME, _pieces_of_bytes, mutated_json, partial(_imported, tokenizer=False))
QWEN2_TOKENIZER = Kind(LANGUAGE_JSON_NAME, _bytes_as_letters, mutated_json, _read_byte_level)
