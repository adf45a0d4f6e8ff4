"""The question as the Q-Former reads it: BERT WordPiece from a ``tokenizers`` file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from emo_edge.bundle.reader import Bundle
from emo_edge.errors import CheckpointError
from emo_edge.utils.native_paths import native_path
from emo_edge.utils.text import require_file, writable

KEPT_TEXTS = 1024
"""Texts whose tokens a tokenizer keeps: the next frame asks the same question, and the same label follows it."""


class QuestionTokenizer:
    """[CLS] question [SEP], cut on the left when too long (as LLaMA-VID)."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        import tokenizers

        require_file(path)
        try:
            with native_path(path) as name:
                self._tokenizer = tokenizers.Tokenizer.from_file(name)
        except Exception as error:  # the binding raises bare Exception for every kind of bad file
            raise CheckpointError(f"{path}: not a tokenizers file: {error}") from error
        self._tokenizer.enable_truncation(max_tokens, direction="left")
        self._encoded = lru_cache(KEPT_TEXTS)(self._encode)

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, question: str) -> list[int]:
        """Token ids of the raw question."""
        return list(self._encoded(question))

    def _encode(self, question: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(writable(question)).ids)


def open_questions(bundle: Bundle) -> QuestionTokenizer | None:
    """Open a bundle's question tokenizer; None where its connector reads no question."""
    tokenizer, limit = bundle.manifest.question_tokenizer, bundle.manifest.max_question_tokens
    return QuestionTokenizer(bundle.directory / tokenizer.path, limit) if tokenizer and limit else None
