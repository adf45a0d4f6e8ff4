"""LLaMA-VID's directory and a LoRA adapter of it as upstream stores them, at any size, with random weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.random_shapes import SHAPES
from emo_edge.export.importers.llama_vid import LlamaVidPieces
from emo_edge.export.importers.lora import CONFIG_NAME as ADAPTER_CONFIG
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME
from emo_edge.utils.files import write_json

UPSTREAM_SHAPES = tuple(shape for shape in SHAPES if shape.startswith("llama-vid"))
"""Shapes whose upstream files this writes."""
SHARD_BYTES = 5 << 30
LORA_RANK = 64


def upstream_pieces(work: Path, shape: str) -> LlamaVidPieces:
    """Write the files of one of `UPSTREAM_SHAPES` below ``work``, unless they are there."""
    model, adapter = work / f"{shape}-random", work / f"{shape}-random-lora"
    if not (adapter / ADAPTER_CONFIG).is_file():
        # Written last: without it, a stopped run left only a part.
        shutil.rmtree(model, ignore_errors=True)
        shutil.rmtree(adapter, ignore_errors=True)
        sizes = SHAPES[shape].get("language", {})
        write_upstream(model, sizes)
        write_adapter(adapter, sizes)
    return LlamaVidPieces(model, lora=adapter)


def write_upstream(directory: Path, sizes: Mapping[str, int]) -> None:
    """Write LLaMA-VID's directory with random half-precision weights, five gigabytes in memory at a time."""
    directory.mkdir(parents=True)
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None, "language": dict(sizes)})
    language, placed = config.language.model_dump(), dict[str, str]()
    for number, shard in enumerate(_shards(parameter_shapes(config)), 1):
        name = f"pytorch_model-{number:05}.bin"
        torch.save({key: _random(shape) for key, shape in shard.items()}, directory / name)
        placed |= dict.fromkeys(shard, name)
    write_json(directory / "pytorch_model.bin.index.json", {"weight_map": placed})
    own = {"compress_type": "mean", "mm_projector_type": "mlp2x_gelu", "bert_type": "qformer_pretrain"}
    write_json(directory / "config.json", {**language, **own, "image_processor": "clip-patch14-224"})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{row}" for row in range(4, 30522))]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    shutil.copy(packaged_checkpoint() / LANGUAGE_MODEL_NAME, directory)


def write_adapter(directory: Path, sizes: Mapping[str, int]) -> None:
    """Write a LoRA adapter of every linear in the language model, as PEFT names it."""
    directory.mkdir(parents=True)
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None, "language": dict(sizes)})
    factors = {}
    for name, shape in parameter_shapes(config).items():
        if name.startswith("language.model.layers.") and len(shape) == 2:
            module = f"base_model.model.{name.removeprefix('language.').removesuffix('.weight')}"
            factors[f"{module}.lora_A.weight"] = _random((LORA_RANK, shape[1]))
            factors[f"{module}.lora_B.weight"] = _random((shape[0], LORA_RANK))
    torch.save(factors, directory / "adapter_model.bin")
    write_json(directory / ADAPTER_CONFIG, {"peft_type": "LORA", "r": LORA_RANK, "lora_alpha": 16})


def _shards(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    shard, size = dict[str, tuple[int, ...]](), 0
    for name, shape in shapes.items():
        own = 2 * torch.Size(shape).numel()
        if shard and size + own > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[_upstream_name(name)] = shape
        size += own
    yield shard


def _upstream_name(name: str) -> str:
    part, _, rest = name.partition(".")
    return {"vision": f"model.vision_tower.vision_tower.{rest}", "connector": f"model.{rest}"}.get(part, rest)


def _random(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float16).normal_(std=0.02)
