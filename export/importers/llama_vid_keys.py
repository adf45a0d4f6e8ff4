"""LLaMA-VID's names and sizes (``llamavid/model``): the names in its files, and those of the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emo_edge.export.configs.upstream_crops import CLIP_RESAMPLE
from emo_edge.export.importers.key_map import KeyMap
from emo_edge.export.importers.language_settings import (
    LANGUAGE_RENAMES,
    LANGUAGE_UNUSED,
    POSITIONS_UNUSED,
    Shapes,
    language_config,
    model_settings,
)
from emo_edge.export.reference.tensor_files import StoredTensors

EVA_LAYERS = 39
"""The tower stops before the last of EVA-CLIP's 40 blocks (``multimodal_encoder/eva_vit.py``)."""
EVA_HEAD_SIZE = 88
BERT_HEAD_SIZE = 64
BERT_LAYERS = 12
_TUNED = ("compress_type", "image_processor", "mm_projector_type", "bert_type", "rope_scaling")
_EVA = r"(cls_token|pos_embed|patch_embed\.proj\.(?:weight|bias)|blocks\.(?!39\.)\d+\..*)"
_EVA_TAIL = {
    r"blocks\.39\..*": "the tower stops before EVA's last block",
    r"(norm|fc_norm|head|lm_head)\..*": "the tower ends without norm and head",
    r"mask_token": "only masked pre-training reads it",
}
MODEL_KEYS = KeyMap(
    renames={
        rf"model\.vision_tower\.vision_tower\.{_EVA}": r"vision.\1",
        **LANGUAGE_RENAMES,
        r"model\.(mm_projector\..*|vlm_att_query)": r"connector.\1",
        r"model\.(vlm_att_(?:ln|projector|key_projector|val_projector)\..*)": r"connector.\1",
        r"model\.(vlm_att_encoder\.bert\.(?!.*position_ids).*)": r"connector.\1",
    },
    unused={
        **POSITIONS_UNUSED,
        **LANGUAGE_UNUSED,
        **{rf"model\.vision_tower\.vision_tower\.{tail}": why for tail, why in _EVA_TAIL.items()},
    },
)
EVA_KEYS = KeyMap(renames={_EVA: r"vision.\1"}, unused=_EVA_TAIL)
"""LAVIS's ``eva_vit_g.pth``."""
QFORMER_KEYS = KeyMap(
    renames={
        r"Qformer\.(bert\.(?!.*position_ids).*)": r"connector.vlm_att_encoder.\1",
        r"ln_vision\.(.*)": r"connector.vlm_att_ln.\1",
        r"query_tokens": "connector.vlm_att_query",
    },
    unused={
        **POSITIONS_UNUSED,
        r"Qformer\.cls\..*": "the language head of the Q-Former's pre-training",
        r"(llm_proj|t5_proj|opt_proj|text_proj|vision_proj|itm_head)\..*": "InstructBLIP's way to its own heads",
        r"temp": "the temperature of contrastive pre-training",
    },
)
"""LAVIS's ``instruct_blip_vicuna7b_trimmed.pth``."""


def config_of_model(path: Path) -> dict[str, Any]:
    """Read LLaMA-VID's ``config.json``; raise CheckpointError for settings that this toolkit does not carry."""
    return model_settings(path, _not_carried)


def tuned_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what LLaMA-VID's trainer may have changed from the config it saves with an adapter."""
    return {name: settings[name] for name in _TUNED if name in settings}


def _not_carried(settings: Mapping[str, Any]) -> Iterator[str]:
    tower, bert = str(settings.get("mm_vision_tower", "")).lower(), str(settings.get("bert_type", "qformer_pretrain"))
    if "openai" in tower or "laion" in tower:
        yield f"mm_vision_tower {settings['mm_vision_tower']!r}: a CLIP tower; only EVA is known"
    if not re.fullmatch(r"qformer_pretrain(_freeze|_freeze_all)?(_layer:[1-9]\d?)?", bert):
        yield f"bert_type {bert!r}: only qformer_pretrain, frozen or not, with or without layer:N, is known"


def checkpoint_config(
    settings: Mapping[str, Any], tensors: StoredTensors, image_size: int, problems: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the sizes by the model's config and its tensors' shapes, as ``EmoLlamaConfig``'s keys.

    Args:
        settings: LLaMA-VID's ``config.json``.
        tensors: by the checkpoint's names.
        image_size: pixels along one side of the vision tower's input.
        problems: of earlier steps, reported together with those of this one.

    Raises CheckpointError, listing them, if tensors are missing that a size is read from.
    """
    shapes = Shapes(tensors)
    width, bert = "vision.cls_token", "connector.vlm_att_encoder.bert"
    vision_size, bert_size = shapes.size(width, 2), shapes.size("connector.vlm_att_query", 2)
    config = {
        "vision": {
            "image_size": image_size,
            "patch_size": shapes.size("vision.patch_embed.proj.weight", 2),
            "hidden_size": vision_size,
            "num_layers": EVA_LAYERS,
            "num_heads": max(vision_size // EVA_HEAD_SIZE, 1),
            "mlp_size": shapes.size("vision.blocks.0.mlp.fc1.weight", 0),
            "resample": CLIP_RESAMPLE,
            "clip_squaring": "centred",
        },
        "connector": {
            "compress_type": settings.get("compress_type") or "none",
            "projector_type": settings.get("mm_projector_type", "linear"),
            "qformer": {
                "vocab_size": shapes.size(f"{bert}.embeddings.word_embeddings.weight", 0),
                "hidden_size": bert_size,
                "num_layers": _bert_layers(settings),
                "num_heads": max(bert_size // BERT_HEAD_SIZE, 1),
                "mlp_size": shapes.size(f"{bert}.encoder.layer.0.intermediate.dense.weight", 0),
                "max_positions": shapes.size(f"{bert}.embeddings.position_embeddings.weight", 0),
                "num_queries": shapes.size("connector.vlm_att_query", 1),
            },
        },
        "language": language_config(settings, shapes),
    }
    shapes.check(problems)
    return config


def _bert_layers(settings: Mapping[str, Any]) -> int:
    """Count the Q-Former's layers: ``layer:N`` in its type cuts them."""
    cut = re.search(r"layer:(\d+)$", str(settings.get("bert_type", "")))
    return int(cut[1]) if cut else BERT_LAYERS
