"""InstructBLIP on Vicuna and its tunes (EmoVIT) to one checkpoint: LAVIS's files, or transformers' directory.

LAVIS keeps Vicuna, EVA's tower and the trained parts apart (``blip2_vicuna_instruct.py``); transformers' directory
holds all. The language model's begin-of-sequence token is its end-of-sequence token there, and stands behind the
picture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from emo_edge import __version__
from emo_edge.console.progress import Progress
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.upstream_crops import CLIP_RESAMPLE, DETECTOR
from emo_edge.export.importers.checkpoint_writer import check_target, write_checkpoint
from emo_edge.export.importers.key_map import VISION, KeyMap, Piece, joined, require_parts
from emo_edge.export.importers.language_settings import (
    LANGUAGE_RENAMES,
    LANGUAGE_UNUSED,
    POSITIONS_UNUSED,
    Shapes,
    language_config,
    model_settings,
    with_flat_rope,
    without_tied_output,
)
from emo_edge.export.importers.llama_vid_keys import BERT_HEAD_SIZE, EVA_HEAD_SIZE, EVA_KEYS
from emo_edge.export.importers.tensors import imported_tensors
from emo_edge.export.importers.tokenizers.question_vocabulary import question_tokenizer
from emo_edge.export.importers.tokenizers.tokenizer_files import language_tokenizer
from emo_edge.export.reference.model import parameter_shapes
from emo_edge.export.reference.tensor_files import StoredTensor, StoredTensors, tensors_of_directory, tensors_of_file
from emo_edge.export.reference.tokenizer import QUESTION_MODEL_NAME

logger = logging.getLogger(__name__)
VOCABULARY_NAMES = ("qformer_tokenizer/vocab.txt", "vocab.txt")
MOST_QUESTION_TOKENS = 128
"""``max_txt_len`` of LAVIS's config."""
QFORMER = "connector.vlm_att_encoder."
_BERT, _OURS = r"qformer\.", r"connector.vlm_att_encoder.bert."
_QKV_BIAS = ".self_attn.qkv.bias"
TRAINED_KEYS = KeyMap(
    renames={
        r"query_tokens": "connector.vlm_att_query",
        r"ln_vision\.(.*)": r"connector.vlm_att_ln.\1",
        r"Qformer\.(bert\.(?!.*position_ids).*)": r"connector.vlm_att_encoder.\1",
        r"(llm_proj\..*)": r"connector.\1",
        **{rf"visual_encoder\.{name}": new for name, new in EVA_KEYS.renames.items()},
    },
    unused={
        **POSITIONS_UNUSED,
        r"Qformer\.cls\..*": "the language head of the Q-Former's pre-training",
        **{rf"visual_encoder\.{name}": why for name, why in EVA_KEYS.unused.items()},
    },
)
"""LAVIS's own names, of ``instruct_blip_vicuna7b_trimmed.pth`` and of a tune such as EmoVIT's."""
MODEL_KEYS = KeyMap(
    renames={
        **LANGUAGE_RENAMES,
        **TRAINED_KEYS.renames,
        r"language_projection\.(.*)": r"connector.llm_proj.\1",
        r"vision_model\.post_layernorm\.(.*)": r"connector.vlm_att_ln.\1",
        r"vision_model\.embeddings\.class_embedding": "vision.cls_token",
        r"vision_model\.embeddings\.position_embedding": "vision.pos_embed",
        r"vision_model\.embeddings\.patch_embedding\.(.*)": r"vision.patch_embed.proj.\1",
        r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.(qkv\.weight|q_bias|v_bias)": r"vision.blocks.\1.attn.\2",
        r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection\.(.*)": r"vision.blocks.\1.attn.proj.\2",
        r"vision_model\.encoder\.layers\.(\d+)\.layer_norm([12])\.(.*)": r"vision.blocks.\1.norm\2.\3",
        r"vision_model\.encoder\.layers\.(\d+)\.(mlp\..*)": r"vision.blocks.\1.\2",
        rf"{_BERT}embeddings\.layernorm\.(.*)": rf"{_OURS}embeddings.LayerNorm.\1",
        rf"{_BERT}(embeddings\.\w+_embeddings\.weight)": rf"{_OURS}\1",
        rf"{_BERT}(encoder\.layer\.\d+\.(?:cross)?attention)\.attention\.(.*)": rf"{_OURS}\1.self.\2",
        rf"{_BERT}(encoder\.layer\..*)": rf"{_OURS}\1",
    },
    unused={**TRAINED_KEYS.unused, **LANGUAGE_UNUSED},
)
"""transformers' names, Vicuna's and LAVIS's."""


@dataclass(frozen=True)
class InstructBlipPieces:
    """The files that make one model."""

    model: Path
    """transformers' directory, or Vicuna's."""
    vision: Path | None = None
    """LAVIS's ``eva_vit_g.pth``."""
    qformer: Path | None = None
    """LAVIS's ``instruct_blip_vicuna7b_trimmed.pth``."""
    tuned: Path | None = None
    """A checkpoint that LAVIS's trainer saved, such as EmoVIT's; it wins."""
    question_vocabulary: Path | None = None
    """``vocab.txt`` of bert-base-uncased, unless it lies in the model's directory."""


def checkpoint_from_instructblip(
    pieces: InstructBlipPieces,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    report: Callable[[str], None] = logger.info,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write InstructBLIP's pieces as one checkpoint; arguments as of `importers.llama_vid.checkpoint_from_llama_vid`.

    Raises CheckpointError with every missing, unknown, misshapen or not finite tensor.
    """
    check_target(target)
    settings = model_settings(pieces.model / "config.json", _not_carried, _flat)
    vocabulary = _vocabulary(pieces)
    with ExitStack() as stack:
        opened = list(_open(pieces, stack))
        tensors = without_tied_output(joined(opened, report), settings, report)
        require_parts({VISION: "`vision`", QFORMER: "`qformer`"}, opened, tensors, pieces.model)
        unknown = [problem for piece in opened for problem in piece.problems()]
        config = _config(pieces, settings, tensors, unknown)
        imported = imported_tensors(parameter_shapes(config), tensors, None, {}, unknown)
        files = language_tokenizer(pieces.model, config.language.vocab_size, report)
        rows = config.connector.qformer.vocab_size if config.connector.qformer else 0
        files[QUESTION_MODEL_NAME] = question_tokenizer(vocabulary, rows)
        write_checkpoint(target, config, files, imported, dtype=dtype, progress=progress)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    text = settings.get("text_config")
    if not isinstance(text, dict):
        return settings
    names: tuple[str, ...] = ("model_type", "qformer_config", "vision_config")
    parts = {name: settings[name] for name in names if name in settings}
    return {**with_flat_rope(text), "text_model_type": text.get("model_type", "opt"), **parts}


def _not_carried(settings: Mapping[str, Any]) -> Iterator[str]:
    kind, text = settings.get("model_type", "llama"), settings.get("text_model_type", "llama")
    if kind not in ("llama", "instructblip"):
        yield f"model_type {str(kind)[:40]!r}: neither InstructBLIP nor Vicuna"
    if text != "llama":
        yield f"text_config.model_type {str(text)[:40]!r}: only llama (Vicuna) is known"


def _vocabulary(pieces: InstructBlipPieces) -> Path:
    candidates = [pieces.model / name for name in VOCABULARY_NAMES]
    vocabulary = pieces.question_vocabulary or next((path for path in candidates if path.is_file()), None)
    if vocabulary is None:
        raise InputError(
            f"{pieces.model}: no {' or '.join(VOCABULARY_NAMES)}, bert-base-uncased's words, in which the Q-Former "
            "reads the question: give that model's vocab.txt with `question_vocabulary`"
        )
    return vocabulary


def _open(pieces: InstructBlipPieces, stack: ExitStack) -> Iterator[Piece]:
    yield MODEL_KEYS.placed(pieces.model.name, dict(_split_biases(tensors_of_directory(pieces.model, stack))))
    if pieces.vision:
        yield EVA_KEYS.placed(pieces.vision.name, tensors_of_file(pieces.vision, stack))
    for path in (pieces.qformer, pieces.tuned):
        if path:
            yield TRAINED_KEYS.placed(path.name, tensors_of_file(path, stack))


def _split_biases(tensors: StoredTensors) -> Iterator[tuple[str, StoredTensor]]:
    """Part transformers' joined biases of queries, keys and values; EVA's keys have none, so theirs must be zero."""
    for name, stored in tensors.items():
        if not name.endswith(_QKV_BIAS):
            yield name, stored
            continue
        width = stored.shape[0] // 3
        values = stored.read()
        if values.shape != (3 * width,) or bool(values[width : 2 * width].any()):
            raise CheckpointError(f"{stored.path}: {name} has a bias of keys, which EVA does not have")
        for part, rows in (("q_bias", slice(0, width)), ("v_bias", slice(2 * width, 3 * width))):
            own = name.replace("qkv.bias", part)
            yield own, replace(stored, name=own, shape=(width,), read=_rows(stored, rows))


def _rows(stored: StoredTensor, rows: slice) -> Callable[[], torch.Tensor]:
    return lambda: stored.read()[rows]


def _config(
    pieces: InstructBlipPieces, settings: Mapping[str, Any], tensors: StoredTensors, problems: Sequence[str]
) -> EmoLlamaConfig:
    shapes = Shapes(tensors)
    language = language_config(settings, shapes)
    # LAVIS and transformers' processor begin the text with "</s>".
    language |= {"bos_place": "after_frames", "bos_token_id": language["eos_token_id"]}
    values = {
        "vision": _vision_config(settings.get("vision_config"), tensors, shapes),
        "connector": {
            "compress_type": "none",
            "projector_type": "linear",
            "query_tokens": True,
            "qformer": _qformer_config(settings.get("qformer_config"), tensors, shapes),
        },
        "face": None,
        "face_info": None,
        "detector": DETECTOR,
        "language": language,
        "prompt": {"template": "<image>{demographics}{question}", "use_demographics": False},
        "provenance": _provenance(pieces),
    }
    shapes.check(problems)
    return EmoLlamaConfig.from_dict(values)


def _vision_config(tower: Any, tensors: StoredTensors, shapes: Shapes) -> dict[str, Any]:
    own = tower if isinstance(tower, dict) else {}
    width, patch = shapes.size("vision.cls_token", 2), shapes.size("vision.patch_embed.proj.weight", 2)
    layers = {name.split(".")[2] for name in tensors if name.startswith("vision.blocks.")}
    return {
        "image_size": max(math.isqrt(max(shapes.size("vision.pos_embed", 1) - 1, 1)), 1) * patch,
        "patch_size": patch,
        "hidden_size": width,
        "num_layers": max(len(layers), 1),
        "num_heads": own.get("num_attention_heads") or max(width // EVA_HEAD_SIZE, 1),
        "mlp_size": shapes.size("vision.blocks.0.mlp.fc1.weight", 0),
        # transformers' BlipImageProcessor and LAVIS's blip_image_eval resize both sides.
        "squaring": "stretched",
        "resample": CLIP_RESAMPLE,
    }


def _qformer_config(former: Any, tensors: StoredTensors, shapes: Shapes) -> dict[str, Any]:
    own, bert = former if isinstance(former, dict) else {}, f"{QFORMER}bert"
    width, positions = shapes.size("connector.vlm_att_query", 2), f"{bert}.embeddings.position_embeddings.weight"
    layers = {name.split(".")[5] for name in tensors if name.startswith(f"{bert}.encoder.layer.")}
    return {
        "vocab_size": shapes.size(f"{bert}.embeddings.word_embeddings.weight", 0),
        "hidden_size": width,
        "num_layers": max(len(layers), 1),
        "num_heads": own.get("num_attention_heads") or max(width // BERT_HEAD_SIZE, 1),
        "mlp_size": shapes.size(f"{bert}.encoder.layer.0.intermediate_query.dense.weight", 0),
        "max_positions": shapes.size(positions, 0),
        "cross_attention_every": own.get("cross_attention_frequency", 2),
        "num_queries": shapes.size("connector.vlm_att_query", 1),
        "max_question_tokens": min(MOST_QUESTION_TOKENS, shapes.size(positions, 0)),
    }


def _provenance(pieces: InstructBlipPieces) -> dict[str, str]:
    sources = {"model": pieces.model, "vision": pieces.vision, "qformer": pieces.qformer, "tuned": pieces.tuned}
    return {"imported_by": f"emo-edge {__version__}", **{name: path.name for name, path in sources.items() if path}}
