"""The vocabulary of a GGUF file, as llama.cpp needs it.

A token that is there twice ends the process, a byte without a token ends it when a text with that byte is read, and
scores that are not finite have no order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from emo_edge.bundle.gguf_header import FLOAT32, INT32, STRING, UINT32, GgufHeader
from emo_edge.utils.text import quoted

TOKENS, SCORES, KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"
MERGES = "tokenizer.ggml.merges"
BYTE_LEVEL = "gpt2"
"""GGUF's name of tokenizers whose tokens are made of bytes by merges; the other kind here is SentencePiece's."""
_ARRAYS = {TOKENS: STRING, SCORES: FLOAT32, KINDS: INT32}
_BYTE_LEVEL_ARRAYS = {TOKENS: STRING, KINDS: INT32, MERGES: STRING}
TOKEN_ID = re.compile(r"tokenizer\.ggml\.[a-z]{1,16}_token_id")
LONGEST_TOKEN = 1024
"""Bytes; SentencePiece makes pieces of at most 16 letters."""
NORMAL, BYTE = 1, 6
"""The first and the last of GGUF's kinds of tokens."""
BYTE_TOKENS = frozenset(f"<0x{value:02X}>".encode() for value in range(256))
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTE_LETTERS = frozenset(chr(code).encode() for code in (*_PRINTED, *range(0x100, 0x144)))
"""Letters that stand for the 256 bytes in byte-level tokens: themselves where they print, else from U+0100 on
(``bytes_to_unicode`` of GPT-2)."""


def arrays_of(header: GgufHeader) -> dict[str, int]:
    """Return the arrays that a header's kind of tokenizer has, and GGUF's type of their values."""
    return _BYTE_LEVEL_ARRAYS if header.metadata.get("tokenizer.ggml.model") == BYTE_LEVEL else _ARRAYS


def vocabulary_problems(header: GgufHeader) -> list[str]:
    """List what is wrong with the tokens of a header, the key first."""
    missing = [
        f"{key}: missing, or no array of GGUF's type {kind}"
        for key, kind in arrays_of(header).items()
        if key not in header.arrays or header.arrays[key].kind != kind
    ]
    return missing or [*_token_problems(header), *_id_problems(header)]


def _token_problems(header: GgufHeader) -> Iterator[str]:
    tokens, arrays = list(header.arrays[TOKENS].values), arrays_of(header)
    for key in arrays.keys() & {SCORES, KINDS}:
        if header.metadata[key] != len(tokens):
            yield f"{key}: {header.metadata[key]} values; {len(tokens)}, one a token, is allowed"
    known = set(tokens)
    if len(known) < len(tokens):
        token, times = Counter(tokens).most_common(1)[0]
        yield f"{TOKENS}: {_shown(token)} is there {times} times; each token once is allowed"
    # llama.cpp reads a token up to a zero byte: what is left may be there twice.
    odd = [token for token in tokens if not 1 <= len(token) <= LONGEST_TOKEN or b"\0" in token]
    if odd or not _are_texts(tokens):
        shown = _shown(odd[0]) if odd else "not UTF-8"
        yield f"{TOKENS}: {shown}; texts of 1 to {LONGEST_TOKEN} bytes without zero bytes are allowed"
    absent = sorted((BYTE_LETTERS if MERGES in arrays else BYTE_TOKENS) - known)
    if absent:
        yield f"{TOKENS}: lacks {absent[0].decode()}; a token for each of the 256 bytes is needed"
    if MERGES in arrays and not all(0 < len(merge) <= 2 * LONGEST_TOKEN for merge in header.arrays[MERGES].values):
        yield f"{MERGES}: a merge of no letters, or of more than {2 * LONGEST_TOKEN} bytes"
    if SCORES in arrays and not np.isfinite(np.asarray(header.arrays[SCORES].values)).all():
        yield f"{SCORES}: a value that is not finite; finite ones are allowed"
    kinds = np.asarray(header.arrays[KINDS].values)
    if len(kinds) and not NORMAL <= kinds.min() <= kinds.max() <= BYTE:
        yield f"{KINDS}: {kinds.min()} to {kinds.max()}; {NORMAL} to {BYTE} is allowed"
    elif len(kinds) == len(tokens):
        wrong = [tokens[index] for index in np.flatnonzero(kinds == BYTE) if tokens[index] not in BYTE_TOKENS]
        if wrong:
            yield f"{KINDS}: {_shown(wrong[0])} is marked as a byte; <0x00> to <0xFF> are allowed"


def _id_problems(header: GgufHeader) -> Iterator[str]:
    for key, value in header.metadata.items():
        if TOKEN_ID.fullmatch(key) and not (header.kinds[key] == UINT32 and value < header.metadata[TOKENS]):
            yield f"{key}: {quoted(value)}; the number of one of the {header.metadata[TOKENS]} tokens is allowed"


def _are_texts(tokens: Sequence[bytes]) -> bool:
    try:
        # No byte of a longer character is 0: halves on both sides of one do not make a whole.
        b"\0".join(tokens).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _shown(token: bytes) -> str:
    return quoted(token.decode("utf-8", "replace"))
