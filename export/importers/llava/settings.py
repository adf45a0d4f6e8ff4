"""LLaVA's ``config.json``, with transformers' settings under the original's names; the checkpoint's sizes by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_edge.export.configs.networks import LDP, LDP_V2
from emo_edge.export.configs.upstream_crops import CLIP_RESAMPLE, DETECTOR, LANDMARK_RESAMPLE, squaring
from emo_edge.export.importers.language_settings import (
    ARCHITECTURE,
    QWEN2,
    Shapes,
    language_config,
    model_settings,
    with_flat_rope,
)
from emo_edge.export.importers.llava.towers import VISION_SETTINGS, is_siglip, vision_config
from emo_edge.export.reference.tensor_files import StoredTensors
from emo_edge.export.user_graphs.landmark_network import LandmarkNetwork

FEATURE_LAYER = "mm_vision_select_layer"
_PLACE = re.compile(r"connector\.mm_projector\.(\d)\.weight")
PROJECTORS = ("identity", "linear", "mlp2x_gelu", "mlp3x_gelu", LDP, LDP_V2)
TUNED = ("mm_projector_type", FEATURE_LAYER, "rope_scaling", "image_aspect_ratio")
"""Settings that a trainer may have changed, in the config that it saves with an adapter or a projector."""
_DEFAULT_LAYER = -2
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
_OTHER_TOWERS = ("eva", "dino", "convnext", "imagebind", "languagebind", "internvit")


def config_of_model(path: Path, *, vision_given: bool = False) -> dict[str, Any]:
    """Read LLaVA's ``config.json``, with transformers' settings under the original's names.

    ``vision_given`` is true where the user names the tower, whatever the config calls it. Raises CheckpointError for
    settings that this toolkit does not carry.
    """
    return model_settings(path, lambda settings: _not_carried(settings, vision_given), _original_names)


def tuned_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what the trainer may have changed from the config it saves with an adapter or a projector."""
    return {name: settings[name] for name in TUNED if name in settings}


def _original_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Return transformers' nested config as one table with the original's names; the original as it is."""
    text = settings.get("text_config")
    if not isinstance(text, dict):
        return {**settings, ARCHITECTURE: QWEN2 if settings.get("model_type") in _QWEN2_MODELS else "llama"}
    strategy = settings.get("vision_feature_select_strategy", "default")
    feature = _STRATEGIES.get(str(strategy), strategy)
    if is_siglip(settings.get(VISION_SETTINGS)):
        # There is no class token to leave out: transformers' "default" leaves a patch out.
        feature = "patch" if strategy == "full" else "all patches but the first"
    outer = {name: value for name, value in settings.items() if name != "text_config"}
    tied = text.get("tie_word_embeddings", settings.get("tie_word_embeddings", False))
    # transformers' classes have the numbers of LLaMA's defaults for what the file leaves out.
    return {
        **with_flat_rope(text),
        ARCHITECTURE: text.get("model_type", "llama"),
        **{name: outer[name] for name in ("model_type", VISION_SETTINGS, "image_grid_pinpoints") if name in outer},
        FEATURE_LAYER: settings.get("vision_feature_layer", _DEFAULT_LAYER),
        "mm_vision_select_feature": feature,
        "mm_projector_type": "mlp2x_gelu",
        "projector_hidden_act": settings.get("projector_hidden_act", "gelu"),
        "tie_word_embeddings": tied,
    }


def _not_carried(settings: Mapping[str, Any], vision_given: bool) -> Iterator[str]:
    kind, aspect = str(settings.get("model_type")), str(settings.get("image_aspect_ratio", ""))
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
    known = any(kind in tower.lower() for kind in ("clip", "siglip"))
    if not (vision_given or known) and any(other in tower.lower() for other in _OTHER_TOWERS):
        yield f"mm_vision_tower {tower[:100]!r}: only CLIP's and SigLIP's are known; is it one, give it with `vision`"
    layer = settings.get(FEATURE_LAYER, _DEFAULT_LAYER)
    if not isinstance(layer, int):
        yield f"{FEATURE_LAYER} {str(layer)[:40]}: only one layer is known"
    projector = settings.get("mm_projector_type", "linear")
    if projector not in PROJECTORS:
        yield f"mm_projector_type {str(projector)[:40]!r}: only {', '.join(PROJECTORS)} are known"
    if settings.get("projector_hidden_act", "gelu") != "gelu":
        yield f"projector_hidden_act {str(settings['projector_hidden_act'])[:40]!r}: only 'gelu' is known"


def projector_kind(tensors: StoredTensors) -> str:
    """Return the kind of a projector whose config is not there, by the places of its matrices."""
    places = {int(match[1]) for name in tensors if (match := _PLACE.fullmatch(name))}
    return {(0, 2): "mlp2x_gelu", (0, 2, 4): "mlp3x_gelu"}.get(tuple(sorted(places)), "linear")


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
    landmark = None
    if network:
        landmark = {"image_size": network.image_size, "outputs": network.outputs, "resample": LANDMARK_RESAMPLE}
    vision = vision_config(tower, tensors, shapes)
    square = squaring(settings, siglip=vision["tower"] == "siglip")
    crop = {"squaring": square, "resample": CLIP_RESAMPLE, "crop_margin": crop_margin}
    config = {
        "vision": {**vision, **crop},
        "connector": {
            "compress_type": "none",
            "projector_type": settings.get("mm_projector_type", "linear"),
            "qformer": None,
        },
        "face": None,
        "face_info": None,
        "detector": DETECTOR,
        "landmark": {**landmark, "crop_margin": crop_margin} if landmark else None,
        "language": language_config(settings, shapes),
    }
    shapes.check(problems)
    return config
