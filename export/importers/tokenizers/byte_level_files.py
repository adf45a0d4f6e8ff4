"""Qwen2's ``tokenizer.json`` from the files of its slow tokenizer, ``vocab.json`` and ``merges.txt``.

Worked from transformers' ``Qwen2Tokenizer`` and the ``tokenizer.json`` that Qwen2 is published with: NFC, the
pattern of words, byte-level BPE; added tokens are read before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError
from emo_edge.export.reference.tokenizer import QWEN2_PATTERN
from emo_edge.utils.files import LARGEST_JSON, read_json, substitute
from emo_edge.utils.text import require_file

VOCABULARY_NAME, MERGES_NAME = "vocab.json", "merges.txt"
Added = Mapping[int, tuple[str, bool]]
"""Text of each added token by its number, and whether it is a control token."""


def has_byte_level_files(model: Path) -> bool:
    """Return whether a directory holds both files."""
    return (model / VOCABULARY_NAME).is_file() and (model / MERGES_NAME).is_file()


def tokenizer_json_from_merges(model: Path, added: Added) -> str:
    """Return the content of the ``tokenizer.json`` that both files and the added tokens are.

    Raises CheckpointError for files that are none of a byte-level BPE, and for added tokens whose numbers do not follow
    the vocabulary's.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary, merges = _vocabulary(model / VOCABULARY_NAME), _merges(model / MERGES_NAME)
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as error:  # tokenizers raises Exception itself
        raise CheckpointError(
            f"{model / MERGES_NAME}: not the merges of {VOCABULARY_NAME}: {str(error)[:200]}"
        ) from error
    tokenizer.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    for _, (text, special) in sorted(added.items()):
        tokenizer.add_tokens([AddedToken(text, special=special, normalized=False)])
    strange = [text for number, (text, _) in sorted(added.items()) if tokenizer.token_to_id(text) != number]
    if strange:
        raise CheckpointError(
            f"{model / VOCABULARY_NAME}: the added token {strange[0]!r} does not follow its {len(vocabulary)} tokens; "
            "transformers' AutoTokenizer writes one tokenizer.json with save_pretrained"
        )
    content: str = tokenizer.to_str()
    return content


def _vocabulary(path: Path) -> dict[str, int]:
    values: Any = read_json(path, "it is the tokenizer's vocabulary")
    numbers = values.values() if isinstance(values, dict) else ()
    if not values or sorted(map(str, numbers)) != sorted(map(str, range(len(values)))):
        raise CheckpointError(f"{path}: no vocabulary, whose tokens have the numbers from 0 on")
    return dict(values)


def _merges(path: Path) -> list[tuple[str, str]]:
    require_file(path)
    if path.stat().st_size > LARGEST_JSON:
        raise CheckpointError(f"{path}: larger than any list of merges ({LARGEST_JSON >> 20} MiB)")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: no text in UTF-8: {error}") from error
    pairs = [line.rstrip("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if strange := [pair for pair in pairs if len(pair) != 2]:
        if what := substitute(path):
            raise CheckpointError(f"{path}: {what}")
        raise CheckpointError(f"{path}: no merge of two tokens: {' '.join(strange[0])[:80]!r}")
    return [(left, right) for left, right in pairs]
