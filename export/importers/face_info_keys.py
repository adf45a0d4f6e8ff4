"""Face Info Mining's tensors in a file of their own: the names and sizes of `emo_edge.export.models.face_info_mining`.

Nobody released such weights. Who trains them keeps them as ``FaceInfoMining.state_dict()`` with the number of heads in
the file's metadata, or as part of a checkpoint of this toolkit.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import CONFIG_NAME
from emo_edge.export.importers.key_map import KeyMap, Piece
from emo_edge.export.reference.tensor_files import StoredTensors, tensors_of_file
from emo_edge.export.reference.weights import open_weights
from emo_edge.utils.files import read_json

PREFIX = "face_info."
HEADS = "num_heads"
"""The size that no tensor has: it is in safetensors metadata, or in ``face_info`` of the config next to the file."""
_PARTS = "global_proj|global_position|region_look|region_shape|region_embedding|queries|norm_queries|norm_tokens"
KEYS = KeyMap(
    renames={rf"(?:face_info\.)?((?:{_PARTS}|attention|norm_mlp|mlp|norm_out|out_proj)(?:\..*)?)": r"face_info.\1"},
    unused={r"(vision|connector|face|language)\..*": "not of Face Info Mining"},
)


def face_info_piece(path: Path, stack: ExitStack) -> Piece:
    """Open the file, or the checkpoint's file that holds the tensors among others."""
    return KEYS.placed(path.name, tensors_of_file(path, stack))


def face_info_config(path: Path, tensors: StoredTensors) -> dict[str, Any]:
    """Read the module's sizes off its tensors, as ``FaceInfoConfig``'s keys, and its heads off the metadata.

    Raises CheckpointError naming a missing tensor that a size is read from, or where the number of heads is missing.
    """

    def size(name: str, axis: int) -> int:
        tensor = tensors.get(PREFIX + name)
        if tensor is None or len(tensor.shape) <= axis:
            raise CheckpointError(f"{path}: missing: {name}, which tells a size; is this Face Info Mining's file?")
        return tensor.shape[axis]

    return {
        "num_tokens": size("queries", 1),
        "hidden_size": size("queries", 2),
        HEADS: _heads(path),
        "global_grid": math.isqrt(size("global_position", 1)),
        "mlp_size": size("mlp.0.weight", 0),
    }


def _heads(path: Path) -> int:
    heads: Any = None
    if path.suffix == ".safetensors":
        with open_weights(path) as file:
            heads = (file.metadata() or {}).get(HEADS)
    config = path.with_name(CONFIG_NAME)
    if heads is None and config.is_file():
        whole = read_json(config, "")
        part = whole.get("face_info") if isinstance(whole, dict) else None
        heads = part.get(HEADS) if isinstance(part, dict) else None
    if not str(heads).isdecimal() or int(str(heads)) < 1:
        raise CheckpointError(
            f"{path}: no tensor tells the number of attention heads: keep it as {HEADS!r} in the metadata of a "
            f"safetensors file, or in face_info of the {CONFIG_NAME} beside it"
        )
    return int(str(heads))
