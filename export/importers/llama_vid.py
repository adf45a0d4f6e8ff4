"""LLaMA-VID's pieces to one checkpoint: ``pytorch_model`` shards, EVA, Q-Former, LoRA adapter, FaceXFormer."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.upstream_crops import DETECTOR
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.face_info_keys import face_info_config, face_info_piece
from emo_edge.export.importers.facexformer import face_config, face_piece
from emo_edge.export.importers.key_map import VISION, Piece, joined, require_parts
from emo_edge.export.importers.language_settings import TRAINED_LENGTH, without_tied_output
from emo_edge.export.importers.llama_vid_keys import (
    EVA_KEYS,
    MODEL_KEYS,
    QFORMER_KEYS,
    checkpoint_config,
    config_of_model,
    tuned_settings,
)
from emo_edge.export.importers.lora import Adapter, open_adapter
from emo_edge.export.importers.tensors import POSITIONS, imported_tensors
from emo_edge.export.importers.tokenizers.question_vocabulary import question_tokenizer
from emo_edge.export.importers.tokenizers.tokenizer_files import language_tokenizer, trained_length
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tensor_files import StoredTensors, tensors_of_directory, tensors_of_file
from emo_edge.export.reference.tokenizer import QUESTION_MODEL_NAME

logger = logging.getLogger(__name__)
VOCABULARY_NAMES = ("vocab.txt", "bert-base-uncased/vocab.txt")
"""Files of a model directory that may hold the words of the Q-Former's BERT."""


@dataclass(frozen=True)
class LlamaVidPieces:
    """The files that make one model."""

    model: Path
    """Directory with ``config.json``, ``tokenizer.model`` and the weights or their shards."""
    vision: Path | None = None
    """LAVIS's ``eva_vit_g.pth``; it wins over the same weights in the model, as it does upstream."""
    qformer: Path | None = None
    """LAVIS's ``instruct_blip_vicuna7b_trimmed.pth``; the model wins where it has the same weights, as upstream."""
    lora: Path | None = None
    """Directory of a PEFT adapter."""
    face: Path | None = None
    """FaceXFormer's ``model.pt``."""
    face_info: Path | None = None
    """Face Info Mining's file, of somebody who trained it: see `emo_edge.export.importers.face_info_keys`."""
    question_vocabulary: Path | None = None
    """``vocab.txt`` of bert-base-uncased, unless it lies in the model's directory."""
    image_size: int | None = None
    """Pixels along one side of the vision tower's input; None takes it from ``config.json`` or the position table."""


def checkpoint_from_llama_vid(
    pieces: LlamaVidPieces,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write LLaMA-VID's pieces as one checkpoint, a shard in memory at a time.

    Without ``pieces.face`` there is no face network, and without ``pieces.face_info``, which was never released, there
    are no face tokens; nothing in the checkpoint is random.

    Args:
        pieces: the files.
        target: the checkpoint's directory; it must not hold anything.
        dtype: of every tensor; None keeps each as it is stored, and merged ones in float32.
        report: gets the key report, line by line.
        progress: gets the bytes written so far and in all.

    Raises CheckpointError with every missing, unknown, misshapen or not finite tensor.
    """
    check_target(target)
    if pieces.face_info and not pieces.face:
        raise InputError("`face_info` reads the face network's map: give `face`, too")
    settings = config_of_model(pieces.model / "config.json")
    if pieces.lora and (pieces.lora / "config.json").is_file():
        settings |= tuned_settings(config_of_model(pieces.lora / "config.json"))
    settings[TRAINED_LENGTH] = trained_length(pieces.model)
    with ExitStack() as stack:
        adapter = open_adapter(pieces.lora, stack) if pieces.lora else None
        opened = _open(pieces, adapter, stack)
        tensors = without_tied_output(joined(opened, report), settings, report)
        unknown = [problem for piece in opened for problem in piece.problems()]
        hints = {VISION: "`vision`", "connector.vlm_att_encoder.": "`qformer`"}
        require_parts(hints, opened, tensors, pieces.model)
        config = _config(pieces, settings, tensors, unknown)
        adapted = {MODEL_KEYS.target(name) or name: pair for name, pair in adapter.pairs.items()} if adapter else {}
        imported = imported_tensors(parameter_shapes(config), tensors, adapter, adapted, unknown)
        if adapter:
            report(f"{adapter.directory.name}: {len(adapted)} weights merged, W + scale B A in float32")
        files = _tokenizers(pieces, config, report)
        write_checkpoint(target, config, files, imported, dtype=dtype, progress=progress)


def _open(pieces: LlamaVidPieces, adapter: Adapter | None, stack: ExitStack) -> list[Piece]:
    """Open every file; a later one wins over an earlier one, as in upstream's loader."""
    opened = []
    if pieces.qformer:
        stored = tensors_of_file(pieces.qformer, stack, inside="model")
        opened.append(QFORMER_KEYS.placed(pieces.qformer.name, stored))
    opened.append(MODEL_KEYS.placed(pieces.model.name, tensors_of_directory(pieces.model, stack)))
    if pieces.vision:
        opened.append(EVA_KEYS.placed(pieces.vision.name, tensors_of_file(pieces.vision, stack)))
    if pieces.face:
        opened.append(face_piece(pieces.face, stack))
    if pieces.face_info:
        opened.append(face_info_piece(pieces.face_info, stack))
    if adapter:
        opened.append(MODEL_KEYS.placed(adapter.directory.name, adapter.whole))
    return opened


def _config(
    pieces: LlamaVidPieces, settings: Mapping[str, Any], tensors: StoredTensors, unknown: Sequence[str]
) -> EmoLlamaConfig:
    values = checkpoint_config(settings, tensors, _image_size(pieces, settings, tensors), unknown)
    values["face"] = face_config(tensors) if pieces.face else None
    values["face_info"] = face_info_config(pieces.face_info, tensors) if pieces.face_info else None
    values["detector"] = DETECTOR
    values["prompt"] = {"use_demographics": pieces.face is not None}
    sources = {"model": pieces.model, "vision": pieces.vision, "qformer": pieces.qformer, "lora": pieces.lora}
    sources |= {"face": pieces.face, "face_info": pieces.face_info}
    named = {name: path.name for name, path in sources.items() if path}
    values["provenance"] = {"imported_by": f"emo-edge {__version__}", **named}
    return EmoLlamaConfig.from_dict(values)


def _image_size(pieces: LlamaVidPieces, settings: Mapping[str, Any], tensors: StoredTensors) -> int:
    """Return the user's size, that of the processor's name (clip-patch14-336), or the position table's."""
    named = re.search(r"patch\d{1,3}-(\d{1,4})/?$", str(settings.get("image_processor", "")))
    if pieces.image_size or named:
        return pieces.image_size or int(named[1] if named else 0)
    table, patch = tensors.get(POSITIONS), tensors.get("vision.patch_embed.proj.weight")
    if table is None or patch is None or len(table.shape) != 3 or table.shape[1] < 2 or len(patch.shape) != 4:
        return 224
    return int(math.isqrt(table.shape[1] - 1) * patch.shape[2])


def _tokenizers(pieces: LlamaVidPieces, config: EmoLlamaConfig, report: Callable[[str], None]) -> dict[str, bytes]:
    language, qformer = language_tokenizer(pieces.model, config.language.vocab_size, report), config.connector.qformer
    if qformer is None:
        return language
    candidates = [pieces.model / name for name in VOCABULARY_NAMES]
    vocabulary = pieces.question_vocabulary or next((path for path in candidates if path.is_file()), None)
    if vocabulary is None:
        raise InputError(
            f"{pieces.model}: no {' or '.join(VOCABULARY_NAMES)}. LLaMA-VID's Q-Former reads the question in "
            "bert-base-uncased's words, which no checkpoint of it holds: give that model's vocab.txt "
            "with `question_vocabulary`"
        )
    words = question_tokenizer(vocabulary, qformer.vocab_size)
    return {**language, QUESTION_MODEL_NAME: words}
