"""A toy language model in PyTorch, and its GGUF files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.gguf.writer import gguf_from_checkpoint
from emo_edge.export.models.llama import build_llama
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME
from emo_edge.export.reference.weights import WEIGHTS_NAME

CONFIG = LanguageConfig(
    vocab_size=776,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=160,
)
WORDS = 259
"""Ids below are unknown, control and byte pieces."""


@pytest.fixture(scope="module")
def config() -> LanguageConfig:
    return CONFIG


@pytest.fixture(scope="module")
def language() -> Any:
    """Random weights; byte and control pieces are never the likeliest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_llama(CONFIG).eval().requires_grad_(False)
        for part in model.parameters():
            part += 0.05 * torch.randn_like(part)
    model.lm_head.weight[:WORDS] = 0
    return model


@pytest.fixture(scope="module")
def write(tokenizer_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a language model as GGUF."""

    def made(model: Any, file_type: str, config: LanguageConfig = CONFIG) -> Path:
        directory = tmp_path_factory.mktemp("language")
        shutil.copy(tokenizer_directory / LANGUAGE_MODEL_NAME, directory)
        save_file({f"language.{name}": part for name, part in model.state_dict().items()}, directory / WEIGHTS_NAME)
        return gguf_from_checkpoint(directory, config, directory / "toy.gguf", file_type=file_type, name="toy")

    return made


@pytest.fixture(scope="module")
def files(language: Any, write: Callable[..., Path]) -> dict[str, Path]:
    made = {kind: write(language, kind) for kind in ("f32", "f16")}
    made["q8_0"] = made["f16"].with_name("q8_0.gguf")
    quantize_gguf(made["f16"], made["q8_0"], "q8_0")
    return made
