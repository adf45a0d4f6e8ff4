"""The question tokenizer's file, checked before the ``tokenizers`` library reads it.

The library runs regular expressions that a file holds, pads to whatever length it names, and ends with a panic on
tables that contradict each other. A Q-Former's tokenizer is BERT's: WordPiece, and rules without expressions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from emo_edge.errors import CheckpointError
from emo_edge.utils.files import read_json

MODEL = "WordPiece"
PARTS: Mapping[str, frozenset[str]] = {
    "normalizer": frozenset(
        {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Sequence", "Strip", "StripAccents"}
    ),
    "pre_tokenizer": frozenset(
        {"BertPreTokenizer", "Digits", "Punctuation", "Sequence", "Whitespace", "WhitespaceSplit"}
    ),
    "post_processor": frozenset({"BertProcessing", "Sequence", "TemplateProcessing"}),
}
"""Of each part, the kinds that run no expression of the file."""
MOST_TOKENS, MOST_ADDED, LONGEST_TOKEN = 1 << 20, 4096, 256
"""The library builds an automaton of the added tokens: one of 10,000 characters takes it 3.5 s."""
LONGEST_WORD = 1000
"""Characters that WordPiece cuts; its time grows with their square. BERT has 100."""


class TokenizerFile(NamedTuple):
    """The text of a ``tokenizers`` file, and the rows that its largest token id needs in a table of embeddings."""

    text: str
    rows: int


def read_tokenizer(path: Path) -> TokenizerFile:
    """Read a question tokenizer; raise CheckpointError naming every part that is not BERT's."""
    try:
        values = read_json(path, "copy it from the checkpoint this one was made of")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: not a tokenizers file: {error}") from error
    problems = list(_problems(values)) if isinstance(values, dict) else ["no object"]
    if problems:
        raise CheckpointError(f"{path}: not a tokenizers file of BERT's WordPiece: {'; '.join(problems[:5])}")
    # Written again: of two keys of one name, the library reads what was checked.
    return TokenizerFile(json.dumps(values), 1 + max(_ids(values)))


def _problems(values: dict[str, Any]) -> Iterator[str]:
    model = values.get("model")
    if not isinstance(model, dict) or model.get("type") != MODEL:
        yield f"its model is no {MODEL}"
        return
    vocabulary, added = model.get("vocab"), values.get("added_tokens") or []
    if not isinstance(vocabulary, dict) or not 0 < len(vocabulary) <= MOST_TOKENS:
        yield "its vocabulary is no table of words"
        return
    if not isinstance(added, list) or len(added) > MOST_ADDED or not all(map(_is_token, added)):
        yield f"added_tokens is no list of at most {MOST_ADDED} tokens of at most {LONGEST_TOKEN} characters"
        return
    if long := [word for word in vocabulary if len(word) > LONGEST_TOKEN]:
        yield f"a word of {len(long[0])} characters"
    if wrong := [number for number in _ids(values) if not _is_id(number)]:
        yield f"{str(wrong[0])[:20]} is no token id"
        return
    if len(set(vocabulary.values())) < len(vocabulary):
        yield "two words have one id"
    if model.get("unk_token") not in vocabulary:
        yield "its unk_token is not in its vocabulary"
    longest = model.get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or not 0 < longest <= LONGEST_WORD:
        yield f"max_input_chars_per_word is {str(longest)[:20]}, not one of 1 to {LONGEST_WORD}"
    if strange := sorted(_template_tokens(values.get("post_processor"))):
        yield f"post_processor names {strange[0][:20]!r}, which it does not describe"
    for part, known in PARTS.items():
        yield from (f"{part} {kind}" for kind in _kinds(values.get(part)) if kind not in known)


def _kinds(part: Any) -> Iterator[str]:
    """Yield the kind of a part, and of those that it joins."""
    if part is None:
        return
    kind = part.get("type") if isinstance(part, dict) else None
    yield str(kind)[:40]
    if isinstance(part, dict):
        for name in ("normalizers", "pretokenizers", "processors"):
            inner = part.get(name)
            for one in inner if isinstance(inner, list) else ():
                yield from _kinds(one)


def _ids(values: dict[str, Any]) -> list[Any]:
    vocabulary, added = values["model"]["vocab"], values.get("added_tokens") or []
    return [*vocabulary.values(), *(token.get("id") for token in added), *_processor_ids(values.get("post_processor"))]


def _processor_ids(processor: Any) -> Iterator[Any]:
    """Yield the ids that are put around a question."""
    if not isinstance(processor, dict):
        return
    for name in ("sep", "cls"):  # BertProcessing: a word and its id
        pair = processor.get(name)
        yield from pair[1:] if isinstance(pair, list) else ()
    special = processor.get("special_tokens")
    for token in special.values() if isinstance(special, dict) else ():
        ids = token.get("ids") if isinstance(token, dict) else None
        yield from ids if isinstance(ids, list) else ()
    for inner in processor["processors"] if isinstance(processor.get("processors"), list) else ():
        yield from _processor_ids(inner)


def _template_tokens(processor: Any) -> set[str]:
    """Return the special tokens that a template names and does not describe."""
    if not isinstance(processor, dict):
        return set()
    special = processor.get("special_tokens")
    named = set[str]()
    for part in ("single", "pair"):
        pieces = processor.get(part)
        for piece in pieces if isinstance(pieces, list) else ():
            token = piece.get("SpecialToken") if isinstance(piece, dict) else None
            named |= {str(token.get("id"))} if isinstance(token, dict) else set()
    inner = processor.get("processors")
    rest = [_template_tokens(one) for one in inner] if isinstance(inner, list) else []
    return named.difference(special if isinstance(special, dict) else ()).union(*rest)


def _is_token(token: Any) -> bool:
    content = token.get("content") if isinstance(token, dict) else None
    return isinstance(content, str) and 0 < len(content) <= LONGEST_TOKEN


def _is_id(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MOST_TOKENS
