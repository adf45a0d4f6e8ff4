"""LLaVA's pieces to one checkpoint: the model or its base, CLIP's tower, a projector, a LoRA adapter; EmoLA's, too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.key_map import VISION, Piece, joined, require_parts
from emo_edge.export.importers.language_settings import (
    ARCHITECTURE,
    EMBEDDINGS,
    OUTPUT,
    QWEN2,
    TRAINED_LENGTH,
    tied,
    without_tied_output,
)
from emo_edge.export.importers.llava.keys import (
    CLIP_KEYS,
    LANDMARK,
    LANDMARK_KEYS,
    MODEL_KEYS,
    PROJECTOR_KEYS,
    kept_layers,
    tower_layers,
    without_last_layers,
)
from emo_edge.export.importers.llava.settings import (
    FEATURE_LAYER,
    checkpoint_config,
    config_of_model,
    projector_kind,
    tuned_settings,
)
from emo_edge.export.importers.llava.towers import VISION_SETTINGS, tower_settings, without_class_token
from emo_edge.export.importers.lora import Adapter, LoraPair, open_adapter
from emo_edge.export.importers.tensors import imported_tensors
from emo_edge.export.importers.tokenizers.tokenizer_files import (
    byte_level_tokenizer,
    end_token,
    language_tokenizer,
    trained_length,
)
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tensor_files import WEIGHTS_NAMES, StoredTensors, tensors_of_directory, tensors_of_file
from emo_edge.export.user_graphs.landmark_network import LANDMARKS_NAME, LandmarkNetwork
from emo_edge.utils.files import refuse_substitute

logger = logging.getLogger(__name__)
PROJECTOR = "connector.mm_projector."
PROJECTOR_NAME = "landmark_feature_projector.bin"
ALONE_NAME = "mm_projector.bin"
DEFAULT_LAYER = -2


@dataclass(frozen=True)
class LlavaPieces:
    """The files that make one model."""

    model: Path
    """Directory of LLaVA, with the original's names or transformers', or of the language model that a projector has."""
    vision: Path | None = None
    """Directory or file of CLIP or SigLIP; it wins over the same weights in the model, as it does upstream."""
    projector: Path | None = None
    """``mm_projector.bin``, where the model is a language model alone; the settings next to it count."""
    lora: Path | None = None
    """Directory of an adapter: PEFT's files, mostly with ``non_lora_trainables.bin``."""
    landmarks: Path | None = None
    """EmoLA: InsightFace's ``2d106det.onnx``, or whatever else gave the numbers that its projector was trained on."""
    landmark_projector: Path | None = None
    """EmoLA: ``landmark_feature_projector.bin``; None takes the one next to the adapter."""


@dataclass(frozen=True)
class Family:
    """Choices of this importer for a family, whose files do not make them."""

    crop_margin: float
    prompt: Mapping[str, Any]


LLAVA = Family(crop_margin=0.5, prompt={"use_demographics": False})
"""The prompts' conversation is vicuna_v1, the one that LLaVA-1.5 was trained in (``llava/conversation.py``)."""
EMOLA = Family(crop_margin=0.25, prompt={"describe": "What is the emotion of this face?", "use_demographics": False})
"""Upstream reads AffectNet's own crops of faces, the tower and the landmark network the same picture; the margin is
our choice. The question is that of FABA-Instruct's emotion half (EmoLA's README), the conversation vicuna_v1
(``train_emola_emotion.sh``). Upstream's evaluation (``eval_FABA.py``) says "human" where that says "user", and asks
"What emotions are conveyed by this face?"."""


CHATML = {
    "template": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\n"
        "{demographics}{question}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "answer_space": False,
}
"""The conversation of Qwen2's chat models, in place of vicuna_v1."""


def checkpoint_from_llava(
    pieces: LlavaPieces,
    target: Path,
    *,
    family: Family = LLAVA,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write LLaVA's pieces as one checkpoint.

    A landmark network is copied into the checkpoint as it is. Other arguments as of
    `importers.llama_vid.checkpoint_from_llama_vid`. Raises CheckpointError with every missing, unknown, misshapen or
    not finite tensor, and for a landmark network that cannot be run.
    """
    check_target(target)
    settings, network = _settings(pieces), _landmark_network(pieces.landmarks)
    tower = tower_settings(pieces.vision, settings)
    with ExitStack() as stack:
        adapter = open_adapter(pieces.lora, stack) if pieces.lora else None
        untied = tied(settings) and adapter is not None and _adapts_output(adapter)
        if untied:
            report("  lm_head.weight: an adapter changes it alone, so it is no longer tied to the embeddings")
            settings["tie_word_embeddings"] = False
        opened = _checked_layers(pieces, _open(pieces, adapter, stack), settings)
        tensors = _joined(pieces, opened, settings, report)
        if untied:
            tensors = {OUTPUT: tensors[EMBEDDINGS], **tensors}
        settings = {"mm_projector_type": projector_kind(tensors), **settings}
        unknown = [problem for piece in opened for problem in piece.problems()]
        sizes = checkpoint_config(settings, tower, tensors, network, family.crop_margin, unknown)
        prompt = {**family.prompt, **(CHATML if settings[ARCHITECTURE] == QWEN2 else {})}
        config = EmoLlamaConfig.from_dict({**sizes, "prompt": prompt, "provenance": _provenance(pieces)})
        adapted = _adapted(adapter, config.vision.num_layers, report) if adapter else {}
        imported = imported_tensors(parameter_shapes(config), tensors, adapter, adapted, unknown)
        if adapter:
            report(f"{adapter.directory.name}: {len(adapted)} weights merged, W + scale B A in float32")
        files = _tokenizer(pieces.model, config, report)
        if network and pieces.landmarks:
            report(f"{pieces.landmarks.name}: {network.image_size} pixels, {network.outputs} numbers")
            files[LANDMARKS_NAME] = network.content
        write_checkpoint(target, config, files, imported, dtype=dtype, progress=progress)


def _settings(pieces: LlavaPieces) -> dict[str, Any]:
    """Read the model's settings, then those that were changed in training, where they are."""
    given = pieces.vision is not None
    settings = config_of_model(pieces.model / "config.json", vision_given=given)
    for changed in (pieces.projector.parent if pieces.projector else None, pieces.lora):
        if changed and (changed / "config.json").is_file():
            settings |= tuned_settings(config_of_model(changed / "config.json", vision_given=given))
    if settings.get("eos_token_id") is None and settings[ARCHITECTURE] == QWEN2:
        settings["eos_token_id"] = end_token(pieces.model)
    return {**settings, TRAINED_LENGTH: trained_length(pieces.model)}


def _adapts_output(adapter: Adapter) -> bool:
    """Return whether an adapter changes the output matrix: PEFT does so beside the table that it was tied to."""
    return any((MODEL_KEYS.target(name) or name) == OUTPUT for name in adapter.pairs)


def _tokenizer(model: Path, config: EmoLlamaConfig, report: Callable[[str], None]) -> dict[str, bytes]:
    rows = config.language.vocab_size
    if config.language.architecture == QWEN2:
        return byte_level_tokenizer(model, rows, report)
    return language_tokenizer(model, rows, report)


def _landmark_network(path: Path | None) -> LandmarkNetwork | None:
    if path is None:
        return None
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; `landmarks` is InsightFace's 2d106det.onnx")
    try:
        return LandmarkNetwork(path.read_bytes(), str(path))
    except CheckpointError as error:
        refuse_substitute(path, error)
        raise


def _open(pieces: LlavaPieces, adapter: Adapter | None, stack: ExitStack) -> list[Piece]:
    """Open every file; a later one wins over an earlier one, as in upstream's loader."""
    alone = pieces.model / ALONE_NAME
    if alone.is_file() and not any((pieces.model / name).is_file() for name in WEIGHTS_NAMES):
        raise CheckpointError(
            f"{pieces.model}: holds {ALONE_NAME} alone; give the language model that it was trained on as `model`, "
            "and this file as `projector`"
        )
    opened = [MODEL_KEYS.placed(pieces.model.name, tensors_of_directory(pieces.model, stack))]
    if pieces.vision:
        read = tensors_of_directory if pieces.vision.is_dir() else tensors_of_file
        opened.append(CLIP_KEYS.placed(pieces.vision.name, read(pieces.vision, stack)))
    if pieces.projector:
        opened.append(PROJECTOR_KEYS.placed(pieces.projector.name, tensors_of_file(pieces.projector, stack)))
    if adapter:
        opened.append(MODEL_KEYS.placed(adapter.directory.name, adapter.whole))
    own = pieces.lora / PROJECTOR_NAME if pieces.lora else None
    projector = pieces.landmark_projector or (own if own and own.is_file() else None)
    if projector:
        opened.append(LANDMARK_KEYS.placed(projector.name, tensors_of_file(projector, stack)))
    return opened if pieces.landmarks else [_without_landmarks(piece) for piece in opened]


def _without_landmarks(piece: Piece) -> Piece:
    why = "without a landmark network there is no landmark token"
    return piece.without({name: why for name in piece.tensors if name.startswith(LANDMARK)})


def _checked_layers(pieces: LlavaPieces, opened: Sequence[Piece], settings: Mapping[str, Any]) -> list[Piece]:
    """Leave out the layers that the features do not need; raise CheckpointError where there are too few."""
    kept = []
    for piece in opened:
        layer = _feature_layer(pieces, piece, settings)
        layers = tower_layers(piece.tensors)
        if layers and not kept_layers(layers, layer):
            raise CheckpointError(
                f"{FEATURE_LAYER} {layer}: the tower in {piece.name} has {layers} layers; give its own"
            )
        kept.append(without_last_layers(piece, layer))
    return kept


def _feature_layer(pieces: LlavaPieces, piece: Piece, settings: Mapping[str, Any]) -> Any:
    """Return the layer of the features: of the original's SigLIP it is not the config's.

    Its code drops the last layer when it loads the tower, and reads what leaves the others (``siglip_encoder.py``). So
    a tower that was saved with the model has no layer too many.
    """
    if VISION_SETTINGS in settings or not without_class_token(piece.tensors):
        return settings.get(FEATURE_LAYER, DEFAULT_LAYER)
    return DEFAULT_LAYER if pieces.vision and piece.name == pieces.vision.name else -1


def _adapted(adapter: Adapter, layers: int, report: Callable[[str], None]) -> dict[str, LoraPair]:
    """Return the factors by the checkpoint's names, without those of the tower's layers that are left out."""
    named = {MODEL_KEYS.target(name) or name: pair for name, pair in adapter.pairs.items()}
    kept = {name: pair for name, pair in named.items() if tower_layers([name]) <= layers}
    if len(kept) < len(named):
        report(
            f"{adapter.directory.name}: {len(named) - len(kept)} adapted weights are in layers that LLaVA does not read"
        )
    return kept


def _joined(
    pieces: LlavaPieces, opened: Sequence[Piece], settings: Mapping[str, Any], report: Callable[[str], None]
) -> StoredTensors:
    tensors = without_tied_output(joined(opened, report), settings, report)
    hints = {
        VISION: "`vision`",
        **({} if settings.get("mm_projector_type") == "identity" else {PROJECTOR: "`projector`"}),
    }
    if pieces.landmarks:
        hints[LANDMARK] = "`landmark_projector`"
    require_parts(hints, opened, tensors, pieces.model)
    return tensors


def _provenance(pieces: LlavaPieces) -> dict[str, str]:
    names = ("model", "vision", "projector", "lora", "landmark_projector", "landmarks")
    sources = {name: path for name in names if isinstance(path := getattr(pieces, name), Path)}
    return {"imported_by": f"emo-edge {__version__}", **{name: path.name for name, path in sources.items()}}
