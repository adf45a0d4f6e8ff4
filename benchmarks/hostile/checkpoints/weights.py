"""Files of weights: safetensors, torch's archives, indices of shards, and the settings of an adapter."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save, save_file

from emo_edge.benchmarks.hostile.mutate import mutated_bytes, mutated_json, mutated_zip
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.export.importers import lora
from emo_edge.export.reference.tensor_files import tensors_of_directory, tensors_of_file
from emo_edge.export.reference.weights import all_finite

SHARDS = ("pytorch_model-1.bin", "pytorch_model-2.bin")
MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj")


def _tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(12.0).reshape(3, 4), "b.bias": torch.ones(3, dtype=torch.float16)}


def _safetensors() -> Sequence[bytes]:
    return [save(_tensors())]


def _archives() -> Sequence[bytes]:
    written = [io.BytesIO(), io.BytesIO()]
    torch.save(_tensors(), written[0])
    torch.save(_tensors(), written[1], _use_new_zipfile_serialization=False)
    return [stream.getvalue() for stream in written]


def _mutated_archive(rng: Random, content: bytes) -> bytes:
    if content[:2] != b"PK":
        return mutated_bytes(rng, content)
    return mutated_zip(rng, content, {".pkl": mutated_bytes})


def _read_file(path: Path) -> None:
    with ExitStack() as stack:
        for tensor in tensors_of_file(path, stack).values():
            all_finite(tensor.read().float())


def _index() -> Sequence[bytes]:
    placed = {"a.weight": SHARDS[0], "b.bias": SHARDS[1]}
    return [json.dumps({"metadata": {"total_size": 54}, "weight_map": placed}).encode()]


def _read_index(path: Path) -> None:
    for shard, (name, tensor) in zip(SHARDS, _tensors().items(), strict=True):
        if not (path.parent / shard).exists():
            torch.save({name: tensor}, path.parent / shard)
    with ExitStack() as stack:
        tensors_of_directory(path.parent, stack)


def _adapters() -> Sequence[bytes]:
    settings = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {"up_proj": 2},
        "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 3},
        "target_modules": ["q_proj", "up_proj"],
        "use_rslora": False,
        "init_lora_weights": True,
    }
    return [json.dumps(settings).encode()]


def _read_adapter(path: Path) -> None:
    weights = path.parent / lora.WEIGHTS_NAMES[0]
    if not weights.exists():
        ranks = {module: 2 if module.endswith("up_proj") else 4 for module in MODULES}
        factors = {
            f"base_model.model.{module}.lora_{side}.weight": torch.ones(shape)
            for module, rank in ranks.items()
            for side, shape in (("A", (rank, 8)), ("B", (8, rank)))
        }
        save_file(factors, weights)
    with ExitStack() as stack:
        for pair in lora.open_adapter(path.parent, stack).pairs.values():
            pair.merged(torch.zeros(8, 8))


SAFETENSORS = Kind("model.safetensors", _safetensors, mutated_bytes, _read_file)
TORCH = Kind("pytorch_model.bin", _archives, _mutated_archive, _read_file)
INDEX = Kind("pytorch_model.bin.index.json", _index, mutated_json, _read_index)
ADAPTER = Kind(lora.CONFIG_NAME, _adapters, mutated_json, _read_adapter)
