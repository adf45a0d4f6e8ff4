"""EmoLA's names and sizes (``emollava/model``): LLaVA-1.5 with a CLIP tower, and one projector more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_edge.export.importers.key_map import KeyMap
from emo_edge.export.importers.llava import (
    CLIP_RESAMPLE,
    LANGUAGE_RENAMES,
    LANGUAGE_UNUSED,
    POSITIONS_UNUSED,
    Shapes,
    language_config,
    model_settings,
    squaring,
)
from emo_edge.export.models.landmark_network import LandmarkNetwork
from emo_edge.export.reference.tensor_files import StoredTensors

CLIP_LAYERS = 23
"""LLaVA-1.5 reads what enters the last of ViT-L's 24 layers (``mm_vision_select_layer`` -2)."""
CLIP_HEAD_SIZE = 64
CROP_MARGIN = 0.25
"""Our choice: upstream reads AffectNet's own crops of faces, the tower and the landmark network the same picture."""
LANDMARK_RESAMPLE = "opencv_linear"
"""Default of ``cv2.resize``, as ``feature_extraction/landmark/landmark_features.py`` calls it."""
DESCRIBE = "What is the emotion of this face?"
"""Question of FABA-Instruct's emotion half (EmoLA's README).

The conversation is the one it was trained in, vicuna_v1 (``train_emola_emotion.sh``). Upstream's evaluation
(``eval_FABA.py``) says "human" where that says "user", and asks "What emotions are conveyed by this face?".
"""
_TUNED = ("mm_projector_type", "image_aspect_ratio")
_CLIP = r"vision_model\.((?:embeddings\.(?!position_ids)|pre_layrnorm\.|encoder\.layers\.(?!23\.)\d+\.).*)"
_CLIP_TAIL = {
    r"vision_model\.encoder\.layers\.23\..*": "LLaVA reads what enters CLIP's last layer",
    r"vision_model\.post_layernorm\..*": "LLaVA reads features without the final norm",
}
_TOWER = r"model\.vision_tower\.vision_tower\."
_LANDMARK = {r"(?:.*\.)?landmark_feature_projector\.(.*)": r"landmark.projector.\1"}
MODEL_KEYS = KeyMap(
    renames={
        **LANGUAGE_RENAMES,
        rf"{_TOWER}{_CLIP}": r"vision.\1",
        r"model\.(mm_projector\..*)": r"connector.\1",
        **_LANDMARK,
    },
    unused={
        **POSITIONS_UNUSED,
        **LANGUAGE_UNUSED,
        **{f"{_TOWER}{tail}": why for tail, why in _CLIP_TAIL.items()},
    },
)
CLIP_KEYS = KeyMap(
    renames={_CLIP: r"vision.\1"},
    unused={
        **POSITIONS_UNUSED,
        **_CLIP_TAIL,
        r"(text_model\..*|text_projection\.weight)": "CLIP's text side",
        r"(visual_projection\.weight|logit_scale)": "CLIP's way from the tower to its text side",
    },
)
"""OpenAI's ``clip-vit-large-patch14-336``, the tower alone or with its text side."""
LANDMARK_KEYS = KeyMap(renames=_LANDMARK, unused={})
"""``landmark_feature_projector.bin``, which EmoLA's trainer writes next to the adapter."""


def config_of_model(path: Path) -> dict[str, Any]:
    """Read LLaVA's ``config.json``; raise CheckpointError for settings that this toolkit does not carry."""
    return model_settings(path, _not_carried)


def tuned_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what the trainer may have changed from the config it saves with an adapter."""
    return {name: settings[name] for name in _TUNED if name in settings}


def _not_carried(settings: Mapping[str, Any]) -> Iterator[str]:
    tower = str(settings.get("mm_vision_tower", "clip"))
    if "clip" not in tower.lower():
        yield f"mm_vision_tower {tower[:100]!r}: only CLIP's is known"
    layer = settings.get("mm_vision_select_layer", -2)
    if layer != -2:
        yield f"mm_vision_select_layer {str(layer)[:20]}: only -2 is known"


def checkpoint_config(
    settings: Mapping[str, Any], tensors: StoredTensors, network: LandmarkNetwork, problems: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the sizes by the model's config, its tensors and the landmark network, as ``EmoLlamaConfig``'s keys.

    Args:
        settings: LLaVA's ``config.json``.
        tensors: by the checkpoint's names.
        network: the user's.
        problems: of earlier steps, reported together with those of this one.

    Raises CheckpointError, listing them, if tensors are missing that a size is read from.
    """
    shapes = Shapes(tensors)
    width = shapes.size("vision.embeddings.class_embedding", 0)
    patch = shapes.size("vision.embeddings.patch_embedding.weight", 2)
    positions = shapes.size("vision.embeddings.position_embedding.weight", 0)
    config = {
        "vision": {
            "tower": "clip",
            "image_size": max(math.isqrt(max(positions - 1, 1)), 1) * patch,
            "patch_size": patch,
            "hidden_size": width,
            "num_layers": CLIP_LAYERS,
            "num_heads": max(width // CLIP_HEAD_SIZE, 1),
            "mlp_size": shapes.size("vision.encoder.layers.0.mlp.fc1.weight", 0),
            "layer_norm_eps": 1e-5,
            "squaring": squaring(settings),
            "resample": CLIP_RESAMPLE,
            "crop_margin": CROP_MARGIN,
        },
        "connector": {
            "compress_type": "none",
            "projector_type": settings.get("mm_projector_type", "linear"),
            "qformer": None,
        },
        "face": None,
        "face_info": None,
        "landmark": {
            "image_size": network.image_size,
            "outputs": network.outputs,
            "crop_margin": CROP_MARGIN,
            "resample": LANDMARK_RESAMPLE,
        },
        "language": language_config(settings, shapes),
        "prompt": {"describe": DESCRIBE, "use_demographics": False},
    }
    shapes.check(problems)
    return config
