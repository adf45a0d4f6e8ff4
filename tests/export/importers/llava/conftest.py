"""A LLaVA of the true structure at toy width, made by transformers' own classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

State = dict[str, Tensor]
PATCH, GRID, HIDDEN, LAYERS, VOCABULARY, IMAGE = 14, 2, 64, 3, 770, 768
SIDE = PATCH * GRID
QUERIES, END = 8, 2
"""Of InstructBLIP."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
ORIGINAL = {
    "model.language_model.": "model.",
    "model.vision_tower.": "model.vision_tower.vision_tower.",
    "model.multi_modal_projector.linear_1.": "model.mm_projector.0.",
    "model.multi_modal_projector.linear_2.": "model.mm_projector.2.",
}
"""Beginnings of transformers' names (4.52 and later) to those of LLaVA's own code."""


def scaled_pixels(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    scaled = (image / 255.0 - np.array(mean)) / np.array(std)
    return torch.from_numpy(scaled.transpose(2, 0, 1)[None]).float()


@dataclass(frozen=True)
class Llava:
    """transformers' model, and the directory that it saved."""

    model: Any
    directory: Path
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def state(self) -> State:
        return {name: value.detach().clone().contiguous() for name, value in self.model.state_dict().items()}

    def original(self) -> State:
        """The same tensors under the names of LLaVA's own code."""
        return {renamed(name, ORIGINAL): value for name, value in self.state().items()}

    @torch.inference_mode()
    def log_probs(
        self, image: np.ndarray | Tensor, before: Sequence[int], after: Sequence[int], label: Sequence[int]
    ) -> float:
        """Log-probability of a label by transformers' forward: ids around the picture's placeholder tokens.

        ``image`` is a square of uint8, or what transformers' image processor makes of a file.
        """
        pixels = image if isinstance(image, Tensor) else scaled_pixels(image, self.mean, self.std)
        ids = torch.tensor([[*before, *[IMAGE] * GRID * GRID, *after, *label]])
        logits = self.model(input_ids=ids, pixel_values=pixels).logits[0]
        predicting = logits[-len(label) - 1 : -1].log_softmax(-1)
        return float(sum(row[token] for row, token in zip(predicting, label, strict=True)))


def renamed(name: str, table: Mapping[str, str]) -> str:
    old = next((old for old in table if name.startswith(old)), "")
    return table.get(old, "") + name.removeprefix(old)


def make_llava(*, qwen2: bool = False, siglip: int = 0, **text: Any) -> Any:
    """Make ``LlavaForConditionalGeneration`` with random weights that are large enough to matter.

    ``siglip`` is the size of SigLIP's pictures; 0 takes CLIP's tower.
    """
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_theta": 500.0,
    }
    tower = {
        "hidden_size": 64,
        "intermediate_size": 72,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=SiglipVisionConfig(**tower | {"image_size": siglip})
                if siglip
                else CLIPVisionConfig(**tower),
                vision_feature_select_strategy="full" if siglip else "default",
                text_config=(Qwen2Config if qwen2 else LlamaConfig)(**{**sizes, **text}),
                image_token_index=IMAGE,
            )
        )
        for value in model.parameters():
            torch.nn.init.normal_(value, std=0.15) if value.ndim > 1 else torch.nn.init.normal_(value, 1.0, 0.1)
    model.tie_weights()
    return model.float().eval()


def write_tokenizer(directory: Path, source: Path) -> None:
    (directory / "tokenizer.model").write_bytes((source / "tokenizer.model").read_bytes())
    (directory / "added_tokens.json").write_text(json.dumps({"<image>": IMAGE, "<pad>": IMAGE + 1}))


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> Llava:
    """The directory as transformers 4 saves it. Copy it before changing a file."""
    directory, model = tmp_path_factory.mktemp("llava") / "llava-hf", make_llava()
    model.save_pretrained(directory)
    write_tokenizer(directory, tokenizer_directory)
    return Llava(model, directory)


@pytest.fixture(scope="session")
def original(llava: Llava, tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> Path:
    """The same model as LLaVA's own trainer saves it, with a tower that was tuned. Copy it before changing a file."""
    directory = tmp_path_factory.mktemp("original") / "llava-v1.5"
    directory.mkdir()
    torch.save(llava.original(), directory / "pytorch_model.bin")
    text = llava.model.config.text_config
    settings = {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "mm_hidden_size": 64,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "/data/tuned-tower",
        "image_aspect_ratio": "pad",
        "torch_dtype": "float16",
        **{name: getattr(text, name) for name in ("hidden_size", "intermediate_size", "num_hidden_layers")},
        **{name: getattr(text, name) for name in ("num_attention_heads", "num_key_value_heads", "rms_norm_eps")},
        **{name: getattr(text, name) for name in ("max_position_embeddings", "rope_theta")},
    }
    (directory / "config.json").write_text(json.dumps(settings))
    write_tokenizer(directory, tokenizer_directory)
    return directory


@dataclass(frozen=True)
class InstructBlip:
    """transformers' InstructBLIP and its directory."""

    model: Any
    directory: Path
    words: list[str]

    @torch.inference_mode()
    def log_probs(
        self, image: np.ndarray | Tensor, question: Sequence[int], text: Sequence[int], label: Sequence[int]
    ) -> float:
        """Log-probability of a label by transformers' forward: the picture's placeholders, "</s>", the text.

        ``image`` is a square of uint8, or what transformers' image processor makes of a file.
        """
        pixels = image if isinstance(image, Tensor) else scaled_pixels(image, MEAN, STD)
        ids = torch.tensor([[*[IMAGE] * QUERIES, END, *text, *label]])
        asked = torch.tensor([list(question)])
        logits = self.model(
            pixel_values=pixels,
            qformer_input_ids=asked,
            qformer_attention_mask=torch.ones_like(asked),
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
        ).logits[0]
        predicting = logits[-len(label) - 1 : -1].log_softmax(-1)
        return float(sum(row[token] for row, token in zip(predicting, label, strict=True)))


@pytest.fixture(scope="session")
def blip(tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> InstructBlip:
    from transformers import (
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
        LlamaConfig,
    )

    vocabulary = json.loads((tokenizer_directory / "question_tokenizer.json").read_text())["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    language = LlamaConfig(
        vocab_size=770,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    tower = InstructBlipVisionConfig(
        hidden_size=88, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE
    )
    former = InstructBlipQFormerConfig(
        vocab_size=len(words) + 1,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=72,
        max_position_embeddings=256,
        encoder_hidden_size=88,
    )
    config = InstructBlipConfig(
        vision_config=tower.to_dict(),
        qformer_config=former.to_dict(),
        text_config=language.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=IMAGE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        model = InstructBlipForConditionalGeneration(config).float().eval()
        for name, value in model.named_parameters():
            torch.nn.init.normal_(value, 1.0 if value.ndim == 1 and "bias" not in name else 0.0, 0.15)
        for layer in model.vision_model.encoder.layers:
            layer.self_attn.qkv.bias.data[88:176] = 0
    directory = tmp_path_factory.mktemp("blip") / "instructblip"
    model.save_pretrained(directory)
    (directory / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    (directory / "added_tokens.json").write_text(json.dumps({"<image>": IMAGE}))
    (directory / "qformer_tokenizer").mkdir()
    (directory / "qformer_tokenizer" / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return InstructBlip(model, directory, words)
