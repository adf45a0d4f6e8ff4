"""FaceXFormer's ``model.pt`` to a checkpoint of the face network alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import FaceXFormerConfig
from emo_edge.export.configs.upstream_crops import DETECTOR, FACE_RESAMPLE
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.key_map import KeyMap, Piece
from emo_edge.export.importers.tensors import imported_tensors
from emo_edge.export.reference.face_network import face_network_shapes
from emo_edge.export.reference.tensor_files import StoredTensors, tensors_of_file

INSIDE = "state_dict_backbone"
"""Entry of ``model.pt`` that holds the whole model, in spite of its name."""
KEYS = KeyMap(
    renames={
        r"(backbone\.0\.(?!.*relative_position_index).*)": r"face.\1",
        r"(pe_layer\.positional_encoding_gaussian_matrix)": r"face.\1",
        r"((?:linear_c|linear_fuse|face_decoder)\..*)": r"face.\1",
    },
    unused={
        r".*\.relative_position_index": "computed from the window's size",
        r"backbone\.1\..*": "FaceXFormer computes the trunk's final norm and does not read it",
    },
)

logger = logging.getLogger(__name__)


def checkpoint_from_facexformer(
    model: Path,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write FaceXFormer's file as a checkpoint; arguments as of `importers.llama_vid.checkpoint_from_llama_vid`.

    Raises CheckpointError with every missing, unknown, misshapen or not finite tensor.
    """
    check_target(target)
    with ExitStack() as stack:
        piece = face_piece(model, stack)
        for line in piece.lines():
            report(line)
        made_of = {"name": "facexformer", "imported_by": f"emo-edge {__version__}", "face": model.name}
        config = FaceXFormerConfig.from_dict(
            {"face": face_config(piece.tensors), "detector": DETECTOR, "provenance": made_of}
        )
        tensors = imported_tensors(face_network_shapes(config), piece.tensors, None, {}, piece.problems())
        write_checkpoint(target, config, {}, tensors, dtype=dtype, progress=progress)


def face_piece(path: Path, stack: ExitStack) -> Piece:
    """Open FaceXFormer's file; DataParallel's ``module.`` before every name is left out."""
    return KEYS.placed(path.name, tensors_of_file(path, stack, inside=INSIDE))


def face_config(tensors: StoredTensors, image_size: int = 224) -> dict[str, Any]:
    """Read the network's widths off its tensors, as ``FaceConfig``'s keys.

    The picture's size and the numbers of layers are FaceXFormer's own: a file with fewer layers is a damaged one.

    Raises CheckpointError naming the missing tensor that a size is read from.
    """

    def size(name: str, axis: int) -> int:
        tensor = tensors.get(f"face.{name}")
        if tensor is None or len(tensor.shape) <= axis:
            raise CheckpointError(f"face network: missing: {name}, which tells a size; is this FaceXFormer's model.pt?")
        return tensor.shape[axis]

    bias = "attn.relative_position_bias_table"
    stages = [1, 3, 5, 7]
    table = size(f"backbone.0.1.0.{bias}", 0)
    width = size("backbone.0.0.0.weight", 0)
    return {
        "image_size": image_size,
        "patch_size": size("backbone.0.0.0.weight", 2),
        "embed_dim": width,
        "num_heads": tuple(size(f"backbone.0.{stage}.0.{bias}", 1) for stage in stages),
        "window_size": (math.isqrt(table) + 1) // 2,
        "mlp_ratio": size("backbone.0.1.0.mlp.0.weight", 0) / max(width, 1),
        "decoder_dim": size("linear_fuse.weight", 0),
        "decoder_mlp_size": size("face_decoder.transformer.layers.0.mlp.lin1.weight", 0),
        "resample": FACE_RESAMPLE,
    }
