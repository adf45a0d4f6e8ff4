"""``config.json`` of a checkpoint: read, and compared with the weights that lie next to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.hostile.mutate import mutated_json
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.export.configs.checkpoint import CONFIG_NAME, EmoLlamaConfig, FaceXFormerConfig
from emo_edge.export.reference.face_network import face_network_shapes
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.weights import check_layers, check_structure

MODEL = "emo-tiny"


def _whole() -> Sequence[bytes]:
    return [(packaged_checkpoint(MODEL) / CONFIG_NAME).read_bytes()]


def _face() -> Sequence[bytes]:
    config = EmoLlamaConfig.from_pretrained(packaged_checkpoint(MODEL))
    return [FaceXFormerConfig(face=config.face).model_dump_json().encode()] if config.face else []


def _read(path: Path) -> None:
    config, weights = EmoLlamaConfig.from_pretrained(path.parent), packaged_checkpoint(MODEL)
    check_layers(config.layers, weights)
    check_structure(parameter_shapes(config), weights)


def _read_face(path: Path) -> None:
    config, weights = FaceXFormerConfig.from_pretrained(path.parent), packaged_checkpoint(MODEL)
    check_layers(config.layers, weights)
    face_network_shapes(config)


CONFIG = Kind(CONFIG_NAME, _whole, mutated_json, _read)
FACE_CONFIG = Kind(CONFIG_NAME, _face, mutated_json, _read_face)
