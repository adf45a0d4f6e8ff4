"""LLaVA's ``config.json``, with transformers' settings under the original's names; the checkpoint's sizes by it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.language_settings import (
    ARCHITECTURE,
    QWEN2,
    Shapes,
    language_config,
    model_settings,
    with_flat_rope,
)
from emo_edge.export.importers.llava.keys import tower_layers
from emo_edge.export.models.landmark_network import LandmarkNetwork
from emo_edge.export.reference.tensor_files import StoredTensors
from emo_edge.utils.files import read_json

FEATURE_LAYER = "mm_vision_select_layer"
VISION_SETTINGS = "vision_config"
PROJECTORS = ("identity", "linear", "mlp2x_gelu", "mlp3x_gelu")
TUNED = ("mm_projector_type", FEATURE_LAYER, "rope_scaling")
"""Settings that a trainer may have changed, in the config that it saves with an adapter or a projector."""
_DEFAULT_LAYER = -2
_HEAD_SIZE = 64
_ACTIVATION = "quick_gelu"
_STRATEGIES = {"default": "patch", "full": "cls_patch"}
_OTHER_MODELS = {
    "llava_next": "LLaVA-NeXT, whose pictures are cut into tiles (anyres)",
    "llava_next_video": "LLaVA-NeXT-Video, whose pictures are cut into tiles (anyres)",
    "llava_onevision": "LLaVA-OneVision, whose pictures are cut into tiles (anyres)",
    "vipllava": "ViP-LLaVA, which reads several layers of the tower",
    "video_llava": "Video-LLaVA, which has two towers",
    "llava_mistral": "LLaVA on Mistral",
    "llava_mpt": "LLaVA on MPT",
}
_QWEN2_MODELS = ("llava_qwen", "llava_qwen2", "qwen2")
_OTHER_TOWERS = ("siglip", "eva", "dino", "convnext", "imagebind", "languagebind", "internvit")


def config_of_model(path: Path, *, vision_given: bool = False) -> dict[str, Any]:
    """Read LLaVA's ``config.json``, with transformers' settings under the original's names.

    ``vision_given`` is true where the user names the tower, whatever the config calls it. Raises CheckpointError for
    settings that this toolkit does not carry.
    """
    return model_settings(path, lambda settings: _not_carried(settings, vision_given), _original_names)


def tuned_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what the trainer may have changed from the config it saves with an adapter or a projector."""
    return {name: settings[name] for name in TUNED if name in settings}


def tower_settings(vision: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the tower besides its tensors: the config in its folder, or in the model's.

    Raises CheckpointError for a tower that is not CLIP's.
    """
    path = vision / "config.json" if vision and (vision / "config.json").is_file() else None
    whole = read_json(path, "") if path else {} if vision else settings
    own = whole.get(VISION_SETTINGS, whole if path else {}) if isinstance(whole, dict) else {}
    tower = own if isinstance(own, dict) else {}
    kind, act = str(tower.get("model_type", "clip")), str(tower.get("hidden_act", _ACTIVATION))
    if "clip" not in kind or act != _ACTIVATION:
        raise CheckpointError(
            f"{path or VISION_SETTINGS}: model_type {kind[:40]!r} with hidden_act {act[:40]!r}: of towers only CLIP's "
            f"with {_ACTIVATION!r} are known; use a model with OpenAI's CLIP"
        )
    return tower


def _original_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Return transformers' nested config as one table with the original's names; the original as it is."""
    text = settings.get("text_config")
    if not isinstance(text, dict):
        return {**settings, ARCHITECTURE: QWEN2 if settings.get("model_type") in _QWEN2_MODELS else "llama"}
    strategy = settings.get("vision_feature_select_strategy", "default")
    outer = {name: value for name, value in settings.items() if name != "text_config"}
    tied = text.get("tie_word_embeddings", settings.get("tie_word_embeddings", False))
    # transformers' classes have the numbers of LLaMA's defaults for what the file leaves out.
    return {
        **with_flat_rope(text),
        ARCHITECTURE: text.get("model_type", "llama"),
        **{name: outer[name] for name in ("model_type", VISION_SETTINGS, "image_grid_pinpoints") if name in outer},
        FEATURE_LAYER: settings.get("vision_feature_layer", _DEFAULT_LAYER),
        "mm_vision_select_feature": _STRATEGIES.get(strategy, strategy),
        "mm_projector_type": "mlp2x_gelu",
        "projector_hidden_act": settings.get("projector_hidden_act", "gelu"),
        "tie_word_embeddings": tied,
    }


def _not_carried(settings: Mapping[str, Any], vision_given: bool) -> Iterator[str]:
    kind, aspect = settings.get("model_type"), str(settings.get("image_aspect_ratio", ""))
    if kind in _OTHER_MODELS:
        yield f"model_type {kind}: {_OTHER_MODELS[kind]}; not supported"
    if settings[ARCHITECTURE] not in ("llama", QWEN2):
        yield f"text_config.model_type {str(settings[ARCHITECTURE])[:40]!r}: only llama and qwen2 are known"
    if aspect.startswith("anyres"):
        yield f"image_aspect_ratio {aspect[:40]!r}: pictures cut into tiles are not supported"
    merge = str(settings.get("mm_patch_merge_type", ""))
    if "unpad" in merge:
        yield f"mm_patch_merge_type {merge[:40]!r}: tiles without padding are not supported"
    tower = str(settings.get("mm_vision_tower", ""))
    if not vision_given and any(other in tower.lower() for other in _OTHER_TOWERS) and "clip" not in tower.lower():
        yield f"mm_vision_tower {tower[:100]!r}: only CLIP's is known; if it is one, give it with `vision`"
    layer = settings.get(FEATURE_LAYER, _DEFAULT_LAYER)
    if not isinstance(layer, int):
        yield f"{FEATURE_LAYER} {str(layer)[:40]}: only one layer is known"
    projector = settings.get("mm_projector_type", "linear")
    if projector not in PROJECTORS:
        yield f"mm_projector_type {str(projector)[:40]!r}: only {', '.join(PROJECTORS)} are known"
    if settings.get("projector_hidden_act", "gelu") != "gelu":
        yield f"projector_hidden_act {str(settings['projector_hidden_act'])[:40]!r}: only 'gelu' is known"


def checkpoint_config(
    settings: Mapping[str, Any],
    tower: Mapping[str, Any],
    tensors: StoredTensors,
    network: LandmarkNetwork | None,
    crop_margin: float,
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the sizes by the model's config, its tensors and the landmark network, as ``EmoLlamaConfig``'s keys.

    Args:
        settings: of `config_of_model`.
        tower: of `tower_settings`.
        tensors: by the checkpoint's names.
        network: the user's; None without a landmark token.
        crop_margin: around a face, of both networks.
        problems: of earlier steps, reported together with those of this one.

    Raises CheckpointError, listing them, if tensors are missing that a size is read from.
    """
    shapes = Shapes(tensors)
    landmark = {"image_size": network.image_size, "outputs": network.outputs} if network else None
    config = {
        "vision": {**_vision_config(tower, tensors, shapes), "crop_margin": crop_margin},
        "connector": {
            "compress_type": "none",
            "projector_type": settings.get("mm_projector_type", "linear"),
            "qformer": None,
        },
        "face": None,
        "face_info": None,
        "landmark": {**landmark, "crop_margin": crop_margin} if landmark else None,
        "language": language_config(settings, shapes),
    }
    shapes.check(problems)
    return config


def _vision_config(tower: Mapping[str, Any], tensors: StoredTensors, shapes: Shapes) -> dict[str, Any]:
    width = shapes.size("vision.embeddings.class_embedding", 0)
    patch = shapes.size("vision.embeddings.patch_embedding.weight", 2)
    positions = shapes.size("vision.embeddings.position_embedding.weight", 0)
    return {
        "tower": "clip",
        "image_size": max(math.isqrt(max(positions - 1, 1)), 1) * patch,
        "patch_size": patch,
        "hidden_size": width,
        "num_layers": max(tower_layers(tensors), 1),
        "num_heads": tower.get("num_attention_heads") or max(width // _HEAD_SIZE, 1),
        "mlp_size": shapes.size("vision.encoder.layers.0.mlp.fc1.weight", 0),
        "layer_norm_eps": tower.get("layer_norm_eps", 1e-5),
    }
