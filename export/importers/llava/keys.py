"""LLaVA's names of tensors: the original ones (``llava/model``), those of transformers 4 and 5, CLIP's and SigLIP's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from emo_edge.export.importers.key_map import KeyMap, Piece
from emo_edge.export.importers.language_settings import LANGUAGE_RENAMES, LANGUAGE_UNUSED, POSITIONS_UNUSED

LANDMARK = "landmark."
LAYERS = "vision.encoder.layers."
_TOWER = r"(?:model\.)?vision_tower\.(?:vision_tower\.)?"
_CLIP = r"(?:vision_model\.)?((?:embeddings\.(?!position_ids)|pre_layrnorm\.|encoder\.layers\.\d+\.).*)"
_CLIP_TAIL = {
    r"(?:vision_model\.)?post_layernorm\..*": "LLaVA reads features without the final norm",
    r"(?:vision_model\.)?head\..*": "LLaVA reads patches, not SigLIP's pooled picture",
}
_LANDMARK = {r"(?:.*\.)?landmark_feature_projector\.(.*)": r"landmark.projector.\1"}
_PROJECTOR = {
    r"(?:model\.)?(mm_projector\..*)": r"connector.\1",
    r"(?:model\.)?multi_modal_projector\.linear_1\.(.*)": r"connector.mm_projector.0.\1",
    r"(?:model\.)?multi_modal_projector\.linear_2\.(.*)": r"connector.mm_projector.2.\1",
}
MODEL_KEYS = KeyMap(
    renames={**LANGUAGE_RENAMES, f"{_TOWER}{_CLIP}": r"vision.\1", **_PROJECTOR, **_LANDMARK},
    unused={
        **POSITIONS_UNUSED,
        **LANGUAGE_UNUSED,
        **{f"{_TOWER}{tail}": why for tail, why in _CLIP_TAIL.items()},
    },
)
PROJECTOR_KEYS = KeyMap(renames=_PROJECTOR, unused={})
"""``mm_projector.bin``, which LLaVA's trainer writes where the projector alone was trained."""
CLIP_KEYS = KeyMap(
    renames={_CLIP: r"vision.\1"},
    unused={
        **POSITIONS_UNUSED,
        **_CLIP_TAIL,
        r"(text_model\..*|text_projection\.weight)": "CLIP's text side",
        r"(visual_projection\.weight|logit_scale|logit_bias)": "CLIP's way from the tower to its text side",
    },
)
"""OpenAI's ``clip-vit-large-patch14-336`` or Google's SigLIP, the tower alone or with its text side."""
LANDMARK_KEYS = KeyMap(renames=_LANDMARK, unused={})
"""``landmark_feature_projector.bin``, which EmoLA's trainer writes next to the adapter."""


def tower_layers(names: Iterable[str]) -> int:
    """Count the tower's layers by the checkpoint's names of its tensors."""
    numbers = [re.match(rf"{re.escape(LAYERS)}(\d+)\.", name) for name in names]
    return 1 + max((int(number[1]) for number in numbers if number), default=-1)


def kept_layers(layers: int, feature_layer: int) -> int:
    """Count the layers that the features of ``feature_layer`` need; 0 where it is none of theirs.

    The features of layer -1 leave the last of the layers, those of -2 enter it; those of 1 leave the first.
    """
    kept = feature_layer if feature_layer > 0 else layers + 1 + feature_layer
    return kept if 0 < kept <= layers else 0


def without_last_layers(piece: Piece, feature_layer: int) -> Piece:
    """Leave out the tower's layers that the features do not need."""
    layers = tower_layers(piece.tensors)
    kept = kept_layers(layers, feature_layer)
    last = "the tower's last layer" if kept == layers - 1 else f"the tower's layer {kept + 1}"
    dropped = tuple(f"{LAYERS}{number}." for number in range(kept, layers)) if kept else ()
    return piece.without(
        {name: f"LLaVA reads what enters {last}" for name in piece.tensors if name.startswith(dropped)}
    )
