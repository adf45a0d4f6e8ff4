"""The language model's tokenizer: ``tokenizer.model``, or one made of ``tokenizer.json``, with the added tokens.

Added tokens keep their names and numbers as control pieces: no text is read as one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.importers.tokenizers.byte_level_files import (
    MERGES_NAME,
    VOCABULARY_NAME,
    has_byte_level_files,
    tokenizer_json_from_merges,
)
from emo_edge.export.importers.tokenizers.sentencepiece_model import sentencepiece_from_json
from emo_edge.export.reference.tokenizer import (
    LANGUAGE_JSON_NAME,
    LANGUAGE_MODEL_NAME,
    ByteLevelTokenizer,
    LanguageTokenizer,
)
from emo_edge.utils.files import read_json

ADDED_NAME = "added_tokens.json"
SETTINGS_NAME = "tokenizer_config.json"
SHOWN = 5
NO_LIMIT_DIGITS = 31
"""Of the number that transformers writes as ``model_max_length`` where there is no limit, 1e30."""


def language_tokenizer(model: Path, rows: int, report: Callable[[str], None]) -> dict[str, bytes]:
    """Return LLaMA's ``tokenizer.model`` by its name, with the tokens that the model's trainer added.

    Args:
        model: directory with ``tokenizer.model``, or with ``tokenizer.json`` alone.
        rows: of the table of embeddings.
        report: gets a line for what was added or left out.

    Raises CheckpointError if there is no tokenizer, or another model's.
    """
    path = model / LANGUAGE_MODEL_NAME
    if not path.is_file():
        return {LANGUAGE_MODEL_NAME: _with_added(_made_of_json(model, rows, report), model, rows, report)}
    known = len(LanguageTokenizer(model))
    _require_rows(path, known, rows)
    return {LANGUAGE_MODEL_NAME: _with_added(path.read_bytes(), model, rows, report)}


def byte_level_tokenizer(model: Path, rows: int, report: Callable[[str], None]) -> dict[str, bytes]:
    """Return Qwen2's ``tokenizer.json`` by its name, made of ``vocab.json`` and ``merges.txt`` where there is none.

    Args:
        model: directory of the files.
        rows: of the table of embeddings.
        report: gets a line where the file was made.

    Raises CheckpointError if it is missing or another model's.
    """
    tokenizer = _byte_level(model)
    _require_rows(tokenizer.path, len(tokenizer), rows)
    if not tokenizer.path.is_file():
        report(f"{VOCABULARY_NAME}, {MERGES_NAME}: written as {LANGUAGE_JSON_NAME}, {len(tokenizer)} tokens")
        return {LANGUAGE_JSON_NAME: tokenizer.text.encode()}
    return {LANGUAGE_JSON_NAME: tokenizer.path.read_bytes()}


def end_token(model: Path) -> int | None:
    """Return the number of the end-of-sequence token that the tokenizer's settings name."""
    token = _json_of(model / SETTINGS_NAME).get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    return _byte_level(model).vocabulary().get(str(text))


def _byte_level(model: Path) -> ByteLevelTokenizer:
    path = model / LANGUAGE_JSON_NAME
    if path.is_file():
        return ByteLevelTokenizer(model)
    if not has_byte_level_files(model):
        raise CheckpointError(
            f"{path}: no such file, nor {VOCABULARY_NAME} and {MERGES_NAME}; transformers' AutoTokenizer "
            "writes it with save_pretrained"
        )
    decoder = _json_of(model / SETTINGS_NAME).get("added_tokens_decoder")
    plain = {
        int(number)
        for number, token in (decoder.items() if isinstance(decoder, dict) else ())
        if str(number).isdecimal() and isinstance(token, dict) and token.get("special") is False
    }
    added = {number: (text, number not in plain) for number, text in _added_tokens(model)}
    return ByteLevelTokenizer(model, tokenizer_json_from_merges(model, added))


def trained_length(model: Path) -> int | None:
    """Return the number of positions that the trainer of the model used, by its tokenizer's settings."""
    length = _json_of(model / SETTINGS_NAME).get("model_max_length")
    return int(length) if isinstance(length, int | float) and 0 < length < 1 << 20 else None


def _made_of_json(model: Path, rows: int, report: Callable[[str], None]) -> bytes:
    path = model / LANGUAGE_JSON_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{model / LANGUAGE_MODEL_NAME}: no such file; copy it from Vicuna's or the model's own directory"
        )
    content, pieces = sentencepiece_from_json(path)
    _require_rows(path, pieces, rows)
    report(f"{LANGUAGE_JSON_NAME}: written as {LANGUAGE_MODEL_NAME}, {pieces} pieces; both read the test texts alike")
    return content


def _require_rows(path: Path, known: int, rows: int) -> None:
    if known > rows:
        raise CheckpointError(f"{path}: {known} pieces, the model has {rows} rows; it is another model's")


def _with_added(content: bytes, directory: Path, rows: int, report: Callable[[str], None]) -> bytes:
    """Append the added tokens to a SentencePiece model; the bytes stay where there are none."""
    from sentencepiece import sentencepiece_model_pb2

    added = dict(_added_tokens(directory))
    model = sentencepiece_model_pb2.ModelProto.FromString(content)
    beyond = {number: text for number, text in sorted(added.items()) if number >= len(model.pieces)}
    kept = {number: text for number, text in beyond.items() if number < rows}
    if len(kept) < len(beyond):
        report(f"  {len(beyond) - len(kept)} added token(s) have no row in the table of embeddings: left out")
    if not kept:
        return content
    kinds, known = type(model).SentencePiece, {piece.piece for piece in model.pieces}
    for number in range(len(model.pieces), max(kept) + 1):
        text, kind = kept.get(number, ""), kinds.CONTROL
        if not text or text in known:
            # SentencePiece takes no name twice.
            text, kind = f"[UNUSED{number}]", kinds.UNUSED
        known.add(text)
        model.pieces.add(piece=text, score=0.0, type=kind)
    more = f" and {len(kept) - SHOWN} more" if len(kept) > SHOWN else ""
    report(f"  {len(kept)} added token(s): {', '.join(list(kept.values())[:SHOWN])}{more}; no text is read as one")
    whole: bytes = model.SerializeToString(deterministic=True)
    return whole


def _added_tokens(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every token that a tokenizer's files add: of transformers 4 and 5, slow and fast."""
    listed = _json_of(directory / ADDED_NAME)
    yield from ((number, text) for text, number in listed.items() if isinstance(number, int))
    decoder = _json_of(directory / SETTINGS_NAME).get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if str(number).isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str):
            yield int(number), token["content"]
    tokens = _json_of(directory / LANGUAGE_JSON_NAME).get("added_tokens")
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and isinstance(token.get("id"), int) and isinstance(token.get("content"), str):
            yield token["id"], token["content"]


def _json_of(path: Path) -> Mapping[str, Any]:
    content = read_json(path, "", digits=NO_LIMIT_DIGITS) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
