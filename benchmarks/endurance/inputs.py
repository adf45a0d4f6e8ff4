"""Inputs of the killed commands, made once: a small checkpoint and its bundle, drawings, a random face network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
from emo_edge.export.configs.checkpoint import CONFIG_NAME, EmoLlamaConfig, FaceXFormerConfig
from emo_edge.export.importers.facexformer import INSIDE
from emo_edge.export.importers.random_weights import RandomTensor
from emo_edge.export.reference.face_network import face_network_shapes
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME
from emo_edge.export.reference.weights import WEIGHTS_NAME, save_tensors

DRAWINGS = 42
TOY_FACE = {
    "embed_dim": 16,
    "num_heads": [1, 2, 4, 8],
    "mlp_ratio": 4,
    "decoder_dim": 32,
    "decoder_mlp_size": 64,
}
"""Upstream's numbers of layers at a small width."""


def make_inputs(folder: Path) -> None:
    """Write ``checkpoint``, its ``bundle``, ``drawings.jsonl`` and ``face.pt`` into a folder."""
    write_drawings(folder / "drawings")
    write_face_network(folder / "face.pt")
    write_shallow_checkpoint(folder / "checkpoint")
    config = ExportConfig(vision=("fp32",), language=("f16",))
    bundle_from_checkpoint(folder / "checkpoint", folder / "bundle", config, packaged_samples(7), threads=1)


def write_shallow_checkpoint(folder: Path) -> None:
    """Write the first layer of each of emo-tiny's networks as a checkpoint, without the face network.

    Its graphs are traced in seconds; the face network alone takes half a minute.
    """
    packaged = packaged_checkpoint()
    values = json.loads((packaged / CONFIG_NAME).read_text(encoding="utf-8"))
    values["vision"]["num_layers"] = values["connector"]["qformer"]["num_layers"] = 1
    values["language"]["num_hidden_layers"] = 1
    values["face"] = values["face_info"] = None
    values["prompt"]["use_demographics"] = False
    config = EmoLlamaConfig.from_dict({name: value for name, value in values.items() if name != "model_type"})
    folder.mkdir()
    config.save_pretrained(folder)
    weights = load_file(packaged / WEIGHTS_NAME)
    save_tensors({name: weights[name] for name in parameter_shapes(config)}, folder / WEIGHTS_NAME)
    for name in (LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME):
        shutil.copy(packaged / name, folder)


def write_drawings(folder: Path) -> None:
    """Copy packaged drawings into a folder; list them with their labels in the ``.jsonl`` next to it."""
    folder.mkdir()
    lines = []
    for sample in packaged_samples(DRAWINGS):
        assert isinstance(sample.source, Path)
        shutil.copy(sample.source, folder)
        lines.append(json.dumps({"image": f"{folder.name}/{sample.name}", "label": sample.expression}, allow_nan=False))
    folder.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_face_network(path: Path) -> None:
    """Write a FaceXFormer of random weights as upstream's ``model.pt`` holds it."""
    shapes = face_network_shapes(FaceXFormerConfig.from_dict({"face": TOY_FACE}))
    state = {
        name.removeprefix("face."): RandomTensor(name, shape, number).value()
        for number, (name, shape) in enumerate(shapes.items())
    }
    torch.save({INSIDE: state}, path)
