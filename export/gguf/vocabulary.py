"""The tokenizer of a checkpoint as GGUF's vocabulary: SentencePiece's pieces, or byte-level tokens and their merges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.reference.tokenizer import (
    QWEN2_PATTERN,
    ByteLevelTokenizer,
    language_tokenizer_of,
    patterns_of,
)

_BYTE_PIECES = frozenset(f"<0x{value:02X}>" for value in range(256))
_BPE = 2
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
"""GGUF's kinds of tokens."""


def add_tokenizer(writer: Any, directory: Path, config: LanguageConfig) -> None:
    """Add the tokenizer of a checkpoint; raise CheckpointError for one that llama.cpp would read differently."""
    tokenizer = language_tokenizer_of(directory)
    if isinstance(tokenizer, ByteLevelTokenizer):
        _add_byte_level(writer, tokenizer, config)
    else:
        _add_sentencepiece(writer, tokenizer.path, config)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def _add_byte_level(writer: Any, tokenizer: ByteLevelTokenizer, config: LanguageConfig) -> None:
    """Copy the byte-level tokens and their merges, padded with unused ones up to the rows of the embedding table."""
    texts = {number: text for text, number in tokenizer.vocabulary().items()}
    _check_byte_level(tokenizer, texts, config.vocab_size)
    special = {token["id"]: bool(token.get("special")) for token in tokenizer.content.get("added_tokens", [])}
    kinds = {number: _CONTROL if control else _USER_DEFINED for number, control in special.items()}
    merges = tokenizer.content["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([texts.get(number, f"[PAD{number}]") for number in range(config.vocab_size)])
    writer.add_token_types(
        [kinds.get(number, _NORMAL if number in texts else _UNUSED) for number in range(config.vocab_size)]
    )
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])


def _check_byte_level(tokenizer: ByteLevelTokenizer, texts: dict[int, str], rows: int) -> None:
    """Raise CheckpointError for a tokenizer that is not Qwen2's, the only one that this writer knows by name."""
    content = tokenizer.content
    model, patterns = content.get("model") or {}, list(patterns_of({"cutter": content.get("pre_tokenizer")}))
    normalizer = (content.get("normalizer") or {}).get("type")
    problems = {
        "is not byte-level BPE": model.get("type") != "BPE" or bool(model.get("byte_fallback")),
        "cuts words otherwise than Qwen2": patterns != [QWEN2_PATTERN],
        f"normalizes its text by {normalizer}": normalizer not in (None, "NFC"),
        f"has {max(texts, default=-1) + 1} tokens, more than vocab_size {rows}": max(texts, default=-1) >= rows,
    }
    present = [problem for problem, there in problems.items() if there]
    if present:
        raise CheckpointError(f"{tokenizer.path}: llama.cpp cannot tokenise as this file, which {'; '.join(present)}")


def _add_sentencepiece(writer: Any, path: Path, config: LanguageConfig) -> None:
    """Copy the SentencePiece pieces, padded with unused ones up to the rows of the embedding table."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    _check_sentencepiece(path, model, config.vocab_size)
    padding = range(len(model.pieces), config.vocab_size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in model.pieces] + [f"[PAD{number}]" for number in padding])
    writer.add_token_scores([piece.score for piece in model.pieces] + [0.0 for _ in padding])
    # SentencePiece and GGUF number the kinds of pieces alike; unused ones never match a text.
    unused = sentencepiece_model_pb2.ModelProto.SentencePiece.UNUSED
    writer.add_token_types([int(piece.type) for piece in model.pieces] + [int(unused) for _ in padding])
    writer.add_unk_token_id(model.trainer_spec.unk_id)
    writer.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)


def _check_sentencepiece(path: Path, model: Any, rows: int) -> None:
    """Raise CheckpointError for a model that llama.cpp reads otherwise, or dies of (a byte without a piece)."""
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    kinds = type(model).SentencePiece
    byte_pieces = {piece.piece for piece in model.pieces if piece.type == kinds.BYTE}
    own = [piece.piece for piece in model.pieces if piece.type == kinds.USER_DEFINED]
    problems = {
        "is not of the BPE kind": trainer.model_type != _BPE,
        "normalizes its text": bool(normalizer.precompiled_charsmap) or normalizer.remove_extra_whitespaces,
        "does not write spaces as a leading ▁": not normalizer.escape_whitespaces or trainer.treat_whitespace_as_suffix,
        "lacks pieces for some bytes": not byte_pieces >= _BYTE_PIECES,
        f"has user-defined pieces ({', '.join(own[:3])})": bool(own),
        f"has {len(model.pieces)} pieces, more than vocab_size {rows}": len(model.pieces) > rows,
    }
    present = [problem for problem, there in problems.items() if there]
    if present:
        raise CheckpointError(f"{path}: llama.cpp cannot tokenise as this model, which {'; '.join(present)}")
