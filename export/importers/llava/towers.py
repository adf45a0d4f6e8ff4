"""CLIP's and SigLIP's towers in LLaVA: what their own configs and tensors say of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.language_settings import Shapes
from emo_edge.export.importers.llava.keys import tower_layers
from emo_edge.export.reference.tensor_files import StoredTensors
from emo_edge.utils.files import read_json

VISION_SETTINGS = "vision_config"
BLIP = "instructblip"
ACTIVATIONS = {"clip": "quick_gelu", "siglip": "gelu_pytorch_tanh"}
CLASS = "vision.embeddings.class_embedding"
_POSITIONS = "vision.embeddings.position_embedding.weight"
_HEADS = {1152: 16}
"""Attention heads of a width that is not 64 a head: SigLIP so400m."""
_HEAD_SIZE = 64
_HALF = (0.5, 0.5, 0.5)


def is_siglip(tower: Any) -> bool:
    """Return whether a tower's config is SigLIP's."""
    return isinstance(tower, dict) and str(tower.get("model_type", "")).startswith("siglip")


def without_class_token(tensors: StoredTensors) -> bool:
    """Return whether the tensors hold SigLIP's tower, whose patches alone have positions."""
    return CLASS not in tensors and "vision.embeddings.patch_embedding.bias" in tensors


def tower_settings(vision: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the tower besides its tensors: the config in its folder, or in the model's.

    Raises CheckpointError for a tower that is neither CLIP's nor SigLIP's.
    """
    path = vision / "config.json" if vision and (vision / "config.json").is_file() else None
    whole = read_json(path, "") if path else {} if vision else settings
    own = whole.get(VISION_SETTINGS, whole if path else {}) if isinstance(whole, dict) else {}
    tower = dict(own) if isinstance(own, dict) else {}
    kind = "siglip" if is_siglip(tower) else "clip"
    name, act = str(tower.get("model_type", "clip")), str(tower.get("hidden_act", ACTIVATIONS[kind]))
    if name.startswith(BLIP):
        raise CheckpointError("vision_config is InstructBLIP's tower: import it with emo-edge import instructblip")
    if kind not in name or act != ACTIVATIONS[kind]:
        raise CheckpointError(
            f"{path or VISION_SETTINGS}: model_type {name[:40]!r} with hidden_act {act[:40]!r}: of towers only CLIP's "
            f"with {ACTIVATIONS['clip']!r} and SigLIP's with {ACTIVATIONS['siglip']!r} are known"
        )
    named = re.search(r"patch\d{1,3}-(\d{2,4})/?$", str(settings.get("mm_vision_tower", "")))
    return {**({"image_size": int(named[1])} if named else {}), **tower}


def vision_config(tower: Mapping[str, Any], tensors: StoredTensors, shapes: Shapes) -> dict[str, Any]:
    """Return the tower's sizes as ``VisionConfig``'s keys; a tower without a class token is SigLIP's."""
    siglip = without_class_token(tensors)
    patch = max(shapes.size("vision.embeddings.patch_embedding.weight", 2), 1)
    width = shapes.size("vision.embeddings.patch_embedding.weight" if siglip else CLASS, 0)
    patches = shapes.size(_POSITIONS, 0) - (0 if siglip else 1)
    side = max(math.isqrt(max(patches, 1)), 1) * patch
    size = tower.get("image_size", side)
    # SigLIP's pictures may be a little larger than their patches cover.
    fits = siglip and isinstance(size, int) and size // patch * patch == side
    return {
        "tower": "siglip" if siglip else "clip",
        "image_size": size if fits else side,
        "patch_size": patch,
        "hidden_size": width,
        "num_layers": max(tower_layers(tensors), 1),
        "num_heads": tower.get("num_attention_heads") or _HEADS.get(width, max(width // _HEAD_SIZE, 1)),
        "mlp_size": shapes.size("vision.encoder.layers.0.mlp.fc1.weight", 0),
        "layer_norm_eps": tower.get("layer_norm_eps", 1e-6 if siglip else 1e-5),
        **({"image_mean": _HALF, "image_std": _HALF} if siglip else {}),
    }
