"""The question as the Q-Former reads it: BERT WordPiece from a ``tokenizers`` file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.tokenizer_file import read_tokenizer
from emo_edge.errors import CheckpointError
from emo_edge.utils.text import require_file, writable

KEPT_TEXTS = 1024
"""Texts whose tokens a tokenizer keeps: the next frame asks the same question, and the same label follows it."""


class QuestionTokenizer:
    """[CLS] question [SEP], cut on the left when too long (as LLaMA-VID)."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        import tokenizers

        require_file(path)
        file = read_tokenizer(path)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(file.text)
        except BaseException as error:  # the binding raises bare Exception for a bad file, and a panic is none
            if not is_native_failure(error):
                raise
            raise CheckpointError(f"{path}: not a tokenizers file: {error}") from error
        self._tokenizer.enable_truncation(max_tokens, direction="left")
        self._tokenizer.no_padding()  # a file may name any length
        self._rows = max(file.rows, int(self._tokenizer.get_vocab_size()))
        self._encoded = lru_cache(KEPT_TEXTS)(self._encode)

    def __len__(self) -> int:
        """Rows that the largest token id needs in a table of embeddings."""
        return self._rows

    def encode(self, question: str) -> list[int]:
        """Token ids of the raw question."""
        return list(self._encoded(question))

    def _encode(self, question: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(writable(question)).ids)


def is_native_failure(error: BaseException) -> bool:
    """Return whether an error came out of the library; a panic of its Rust is a class of its own, no Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def open_questions(bundle: Bundle) -> QuestionTokenizer | None:
    """Open a bundle's question tokenizer; None where its connector reads no question."""
    tokenizer, limit = bundle.manifest.question_tokenizer, bundle.manifest.max_question_tokens
    return QuestionTokenizer(bundle.directory / tokenizer.path, limit) if tokenizer and limit else None
