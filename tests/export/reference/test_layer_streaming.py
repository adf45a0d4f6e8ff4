"""Layers that stay on the disk: the same numbers, one layer in memory, and nothing wrong let in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emo_edge.errors import CheckpointError
from emo_edge.export.reference import weights
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

LABELS = ("joy", "anger", "no face at all")


@pytest.fixture
def copy(toy_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_checkpoint, tmp_path / "copy"))


def split_in_shards(directory: Path) -> None:
    """Put every tensor in a file of its own."""
    state = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    placed = {}
    for number, (name, value) in enumerate(state.items()):
        placed[name] = f"part-{number}.safetensors"
        save_file({name: value}, directory / placed[name])
    index = directory / weights.INDEX_NAME
    index.write_text(json.dumps({"weight_map": placed}))


def resident(model: Any) -> list[int]:
    """Which decoder layers have their weights in memory."""
    layers = enumerate(model.language.model.layers)
    return [number for number, layer in layers if not any(part.is_meta for part in layer.parameters())]


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_and_answers_are_those_of_the_loaded_model(sharded: bool, dtype: torch.dtype, copy: Path) -> None:
    if sharded:
        split_in_shards(copy)
    image = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    found = []
    for stream in (False, True):
        model = EmoLlamaForConditionalGeneration.from_pretrained(copy, dtype=dtype, stream=stream)
        scores = model.label_scores([image, image], "Which one?", LABELS)
        found.append((scores, model.generate(image, "What is seen?")))
    assert np.array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_one_layer_is_in_memory_at_a_time(toy_checkpoint: Path) -> None:
    model = EmoLlamaForConditionalGeneration.from_pretrained(toy_checkpoint, stream=True)
    assert resident(model) == []
    seen = []
    for layer in model.language.model.layers:
        layer.self_attn.register_forward_hook(lambda *_: seen.append(resident(model)))
    model.label_scores(np.zeros((32, 32, 3), np.uint8), "Which one?", LABELS)
    assert seen == [[0], [1]]
    assert resident(model) == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_in_a_layer_is_named_before_anything_runs(stream: bool, copy: Path) -> None:
    path = copy / "model.safetensors"
    state = load_file(path)
    state["language.model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan
    del state["language.model.layers.0.mlp.up_proj.weight"]
    save_file(state, path)
    with pytest.raises(CheckpointError) as caught:
        EmoLlamaForConditionalGeneration.from_pretrained(copy, stream=stream)
    assert "2 problem(s)" in str(caught.value)
    assert "missing: language.model.layers.0.mlp.up_proj.weight" in str(caught.value)
    assert "not finite: language.model.layers.1.mlp.up_proj.weight" in str(caught.value)
