"""The question as the Q-Former reads it: BERT WordPiece from a ``tokenizers`` file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from emo_edge.bundle.question_tokenizer_file import read_question_tokenizer
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError, CheckpointError
from emo_edge.utils.text import require_file, writable

PANIC = "PanicException"
"""Name of what the binding raises when Rust panics; its class is not to be imported."""
NO_FILE = "not a tokenizers file"
LONGEST_REASON = 200
"""Characters of the library's words that an error repeats."""
KEPT_TEXTS = 1024
"""Texts whose tokens a tokenizer keeps: the next frame asks the same question, and the same label follows it."""


class QuestionTokenizer:
    """[CLS] question [SEP], cut on the left when too long (as LLaMA-VID)."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        import tokenizers

        require_file(path)
        self._path, text = path, read_question_tokenizer(path)
        with tokenizer_errors(path, BundleError, NO_FILE):
            # The very text that was checked, whatever the file holds by now.
            self._tokenizer = tokenizers.Tokenizer.from_str(text)
            self._tokenizer.enable_truncation(max_tokens, direction="left")
        self._encoded = lru_cache(KEPT_TEXTS)(self._encode)

    def __len__(self) -> int:
        """Rows that the largest token id needs in a table of embeddings."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, question: str) -> list[int]:
        """Token ids of the raw question."""
        return list(self._encoded(question))

    def _encode(self, question: str) -> tuple[int, ...]:
        text = writable(question)
        with tokenizer_errors(self._path, BundleError, NO_FILE):
            return tuple(self._tokenizer.encode(text).ids)


@contextmanager
def tokenizer_errors(path: Path, raised: type[CheckpointError], what: str) -> Iterator[None]:
    """Let whatever ``tokenizers`` raises of a file be one error of type ``raised`` that says ``what`` the file is."""
    try:
        yield
    except BaseException as error:
        # The binding raises bare Exception for every kind of bad file, and a panic of Rust is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == PANIC:
            raise raised(f"{path}: {what}: {str(error)[:LONGEST_REASON]}; copy it again") from error
        raise


def open_questions(bundle: Bundle) -> QuestionTokenizer | None:
    """Open a bundle's question tokenizer; None where its connector reads no question."""
    tokenizer, limit = bundle.manifest.question_tokenizer, bundle.manifest.max_question_tokens
    return QuestionTokenizer(bundle.directory / tokenizer.path, limit) if tokenizer and limit else None
