"""Text to token ids for the language model: the checkpoint's SentencePiece model, or its byte-level tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from emo_edge.bundle.prompts import answer_ids
from emo_edge.bundle.question_tokenizer import tokenizer_errors
from emo_edge.errors import CheckpointError
from emo_edge.utils.files import LARGEST_JSON, read_json, refuse_substitute
from emo_edge.utils.native_paths import native_path
from emo_edge.utils.text import require_file, writable

LANGUAGE_MODEL_NAME = "tokenizer.model"
LANGUAGE_JSON_NAME = "tokenizer.json"
QUESTION_MODEL_NAME = "question_tokenizer.json"
NO_TOKENIZER = "no tokenizer"
LARGEST_MODEL = 64 << 20
"""Bytes of a SentencePiece model; one of 256,000 pieces has 4 MB."""

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's pattern that cuts a text into words (``tokenizer.json``); llama.cpp calls it by the name "qwen2"."""
PATTERN = "Regex"
"""Key of a regular expression."""


class TextTokenizer(Protocol):
    """A tokenizer of the checkpoint."""

    path: Path

    def __len__(self) -> int:
        """Return the number of tokens."""

    def encode(self, text: str) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence."""

    def encode_answer(self, context: str, answer: str, space: str = " ") -> list[int]:
        """Token ids that ``answer`` adds after ``context``, tokenised together as training saw them."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, without surrounding space; ids beyond the tokenizer's have none."""


def language_tokenizer_of(directory: str | Path) -> TextTokenizer:
    """Open a checkpoint's tokenizer: ``tokenizer.model``, or ``tokenizer.json`` where there is no such file."""
    if not Path(directory, LANGUAGE_MODEL_NAME).is_file() and Path(directory, LANGUAGE_JSON_NAME).is_file():
        return ByteLevelTokenizer(directory)
    return LanguageTokenizer(directory)


class LanguageTokenizer:
    """The checkpoint's own ``tokenizer.model``, read by SentencePiece itself.

    Chunks are tokenised as LLaVA does around ``<image>``: each on its own, with SentencePiece's leading "▁".
    """

    def __init__(self, directory: str | Path) -> None:
        import sentencepiece

        self.path = Path(directory) / LANGUAGE_MODEL_NAME
        require_file(self.path)
        if self.path.stat().st_size > LARGEST_MODEL:
            raise CheckpointError(f"{self.path}: larger than any SentencePiece model ({LARGEST_MODEL >> 20} MiB)")
        try:
            with native_path(self.path) as name:
                self._pieces: Any = sentencepiece.SentencePieceProcessor(model_file=name)
        except (OSError, RuntimeError, ValueError) as error:  # its message may hold the file's own broken text
            refuse_substitute(self.path, error)
            raise CheckpointError(f"{self.path}: not a SentencePiece model: {error}") from error

    def __len__(self) -> int:
        return int(self._pieces.vocab_size())

    def encode(self, text: str) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence."""
        return [int(token) for token in self._pieces.encode(writable(text))]

    def encode_answer(self, context: str, answer: str, space: str = " ") -> list[int]:
        """Token ids that ``answer`` adds after ``context``, tokenised together as training saw them."""
        return _added(self, context, answer, space)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, without surrounding space; ids of a padded vocabulary, beyond the pieces, have none."""
        known = [int(token) for token in ids if int(token) < len(self)]
        return str(self._pieces.decode(known)).strip()


class ByteLevelTokenizer:
    """A ``tokenizer.json``, byte-level BPE as Qwen2's, read by ``tokenizers`` itself, without padding and truncation.

    Names of control tokens in a text, such as a chat template's, are these tokens.

    Args:
        directory: of the file.
        text: its content, where other files take its place.

    Attributes:
        content: the parsed file.

    Raises CheckpointError for a file that is no tokenizer, or one with another regular expression than Qwen2's: some
    take hours for a short text.
    """

    def __init__(self, directory: str | Path, text: str | None = None) -> None:
        from tokenizers import Tokenizer

        self.path = path = Path(directory) / LANGUAGE_JSON_NAME
        if text is None:
            require_file(path)
            if path.stat().st_size > LARGEST_JSON:
                raise CheckpointError(f"{path}: larger than any tokenizer ({LARGEST_JSON >> 20} MiB)")
        content = json.loads(text) if text else read_json(path, "it is the tokenizer")
        self.content: dict[str, Any] = content if isinstance(content, dict) else {}
        others = [pattern for pattern in patterns_of(self.content) if pattern != QWEN2_PATTERN]
        if others:
            raise CheckpointError(
                f"{path}: cuts or replaces text by {str(others[0])[:60]!r}; only Qwen2's own pattern is known"
            )
        with tokenizer_errors(path, CheckpointError, NO_TOKENIZER):
            self.text: str = text or path.read_text(encoding="utf-8")
            self._tokenizer: Any = Tokenizer.from_str(self.text)
            # A file may name a length of any size.
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Token ids of one chunk of text."""
        with tokenizer_errors(self.path, CheckpointError, NO_TOKENIZER):
            ids: list[int] = self._tokenizer.encode(writable(text), add_special_tokens=False).ids
        return ids

    def encode_answer(self, context: str, answer: str, space: str = " ") -> list[int]:
        """Token ids that ``answer`` adds after ``context``, tokenised together as training saw them."""
        return _added(self, context, answer, space)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, without surrounding space and control tokens."""
        known = [int(token) for token in ids if int(token) < len(self)]
        with tokenizer_errors(self.path, CheckpointError, NO_TOKENIZER):
            return str(self._tokenizer.decode(known, skip_special_tokens=True)).strip()

    def vocabulary(self) -> dict[str, int]:
        """Return every token's number, added ones included."""
        numbers: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return numbers


def patterns_of(content: dict[str, Any]) -> Iterator[Any]:
    """Yield every regular expression of a parsed ``tokenizer.json``, wherever it stands but in the vocabulary."""
    waiting: list[Any] = [part for name, part in content.items() if name != "model"]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
            if PATTERN in part:
                yield part[PATTERN]
        elif isinstance(part, list):
            waiting.extend(part)


def _added(tokenizer: TextTokenizer, context: str, answer: str, space: str) -> list[int]:
    ids = answer_ids(tokenizer.encode, context, answer, space)
    if ids is None:
        raise CheckpointError(
            f"{tokenizer.path}: the answer {answer!r} merges with its context; end the context in ':'"
        )
    return ids
