"""EmoLA's pieces to one checkpoint: LLaVA-1.5, CLIP's tower, the LoRA adapter and the landmark projector."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.emola_keys import (
    CLIP_KEYS,
    LANDMARK_KEYS,
    MODEL_KEYS,
    checkpoint_config,
    config_of_model,
    tuned_settings,
)
from emo_edge.export.importers.key_map import Piece
from emo_edge.export.importers.llava import VISION, joined, language_tokenizer
from emo_edge.export.importers.lora import Adapter, open_adapter
from emo_edge.export.importers.tensors import imported_tensors
from emo_edge.export.models.landmark_network import LANDMARKS_NAME, LandmarkNetwork
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tensor_files import StoredTensors, tensors_of_directory, tensors_of_file

logger = logging.getLogger(__name__)
PROJECTOR_NAME = "landmark_feature_projector.bin"
LANDMARK = "landmark."


@dataclass(frozen=True)
class EmolaPieces:
    """The files that make one model."""

    model: Path
    """LLaVA-1.5-7B's directory."""
    landmarks: Path
    """InsightFace's ``2d106det.onnx``, or whatever else gave the numbers that the projector was trained on."""
    vision: Path | None = None
    """CLIP's directory or file; it wins over the same weights in the model, as it does upstream."""
    lora: Path | None = None
    """EmoLA's directory: the adapter, ``non_lora_trainables.bin`` and, mostly, ``landmark_feature_projector.bin``."""
    landmark_projector: Path | None = None
    """``landmark_feature_projector.bin``; None takes the one next to the adapter."""


def checkpoint_from_emola(
    pieces: EmolaPieces,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write EmoLA's pieces as one checkpoint; arguments as of `importers.llama_vid.checkpoint_from_llama_vid`.

    The landmark network is copied into the checkpoint as it is. Raises CheckpointError with every missing, unknown,
    misshapen or not finite tensor, and for a landmark network that cannot be run.
    """
    check_target(target)
    settings = config_of_model(pieces.model / "config.json")
    if pieces.lora and (pieces.lora / "config.json").is_file():
        settings |= tuned_settings(config_of_model(pieces.lora / "config.json"))
    if not pieces.landmarks.is_file():
        raise CheckpointError(f"{pieces.landmarks}: no such file; `landmarks` is InsightFace's 2d106det.onnx")
    network = LandmarkNetwork(pieces.landmarks.read_bytes(), str(pieces.landmarks))
    with ExitStack() as stack:
        adapter = open_adapter(pieces.lora, stack) if pieces.lora else None
        opened = _open(pieces, adapter, stack)
        tensors = joined(opened, report)
        unknown = [problem for piece in opened for problem in piece.problems()]
        _require_parts(pieces, tensors)
        config = EmoLlamaConfig.from_dict(
            {**checkpoint_config(settings, tensors, network, unknown), "provenance": _provenance(pieces)}
        )
        adapted = {MODEL_KEYS.target(name) or name: pair for name, pair in adapter.pairs.items()} if adapter else {}
        imported = imported_tensors(parameter_shapes(config), tensors, adapter, adapted, unknown)
        if adapter:
            report(f"{adapter.directory.name}: {len(adapted)} weights merged, W + scale B A in float32")
        report(f"{pieces.landmarks.name}: {network.image_size} pixels, {network.outputs} numbers")
        files = {**language_tokenizer(pieces.model, config.language.vocab_size), LANDMARKS_NAME: network.content}
        write_checkpoint(target, config, files, imported, dtype=dtype, progress=progress)


def _open(pieces: EmolaPieces, adapter: Adapter | None, stack: ExitStack) -> list[Piece]:
    """Open every file; a later one wins over an earlier one, as in upstream's loader."""
    opened = [MODEL_KEYS.placed(pieces.model.name, tensors_of_directory(pieces.model, stack))]
    if pieces.vision:
        read = tensors_of_directory if pieces.vision.is_dir() else tensors_of_file
        opened.append(CLIP_KEYS.placed(pieces.vision.name, read(pieces.vision, stack)))
    if adapter:
        opened.append(MODEL_KEYS.placed(adapter.directory.name, adapter.whole))
    own = pieces.lora / PROJECTOR_NAME if pieces.lora else None
    projector = pieces.landmark_projector or (own if own and own.is_file() else None)
    if projector:
        opened.append(LANDMARK_KEYS.placed(projector.name, tensors_of_file(projector, stack)))
    return opened


def _require_parts(pieces: EmolaPieces, tensors: StoredTensors) -> None:
    hints = {VISION: "`vision`", LANDMARK: "`landmark_projector`"}
    absent = [field for part, field in hints.items() if not any(name.startswith(part) for name in tensors)]
    if absent:
        raise CheckpointError(f"{pieces.model}: lacks whole parts; give {' and '.join(absent)}")


def _provenance(pieces: EmolaPieces) -> dict[str, str]:
    sources: Sequence[tuple[str, Path | None]] = (
        ("model", pieces.model),
        ("vision", pieces.vision),
        ("lora", pieces.lora),
        ("landmark_projector", pieces.landmark_projector),
        ("landmarks", pieces.landmarks),
    )
    return {"imported_by": f"emo-edge {__version__}", **{name: path.name for name, path in sources if path}}
