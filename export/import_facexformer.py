"""FaceXFormer's ``model.pt`` to a checkpoint of the face network alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch

from emo_edge import __version__
from emo_edge.export.config import FaceXFormerConfig
from emo_edge.export.face_network import face_network_shapes
from emo_edge.export.facexformer_keys import face_config, face_piece
from emo_edge.export.imported_tensor import imported_tensors
from emo_edge.export.streamed_checkpoint import Progress, check_target, write_checkpoint

log = logging.getLogger(__name__)


def checkpoint_from_facexformer(
    model: Path,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = log.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write FaceXFormer's file as a checkpoint; arguments as of `import_llama_vid.checkpoint_from_llama_vid`.

    Raises CheckpointError with every missing, unknown, misshapen or not finite tensor.
    """
    check_target(target)
    with ExitStack() as stack:
        piece = face_piece(model, stack)
        for line in piece.lines():
            report(line)
        made_of = {"name": "facexformer", "imported_by": f"emo-edge {__version__}", "face": model.name}
        config = FaceXFormerConfig.from_dict({"face": face_config(piece.taken), "provenance": made_of})
        tensors = imported_tensors(face_network_shapes(config), piece.taken, None, {}, piece.problems())
        write_checkpoint(target, config, {}, tensors, dtype=dtype, progress=progress)
