"""Text to token ids: the LLaMA SentencePiece model and the Q-Former's WordPiece vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emo_edge.errors import CheckpointError, InputError

LANGUAGE_MODEL_NAME = "tokenizer.model"
QUESTION_MODEL_NAME = "question_tokenizer.json"


class LanguageTokenizer:
    """The checkpoint's own ``tokenizer.model``, read by SentencePiece itself.

    Chunks are tokenised as LLaVA does around ``<image>``: each on its own, with SentencePiece's leading "▁".
    """

    def __init__(self, directory: str | Path) -> None:
        import sentencepiece

        self.path = Path(directory) / LANGUAGE_MODEL_NAME
        _require_file(self.path)
        try:
            self._pieces: Any = sentencepiece.SentencePieceProcessor(model_file=str(self.path))
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f"{self.path}: not a SentencePiece model: {error}") from error

    def __len__(self) -> int:
        return int(self._pieces.vocab_size())

    def encode(self, text: str) -> list[int]:
        """Token ids of one chunk of text, without begin-of-sequence."""
        return [int(token) for token in self._pieces.encode(_writable(text))]

    def encode_answer(self, context: str, answer: str) -> list[int]:
        """Token ids that ``answer`` adds after ``context``, tokenised together as training saw them."""
        before, both = self.encode(context), self.encode(f"{context} {answer}")
        if both[: len(before)] != before or len(both) == len(before):
            raise CheckpointError(f"{self.path}: the answer {answer!r} merges with its context; end the context in ':'")
        return both[len(before) :]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, without surrounding space."""
        return str(self._pieces.decode([int(token) for token in ids])).strip()


class QuestionTokenizer:
    """The Q-Former's BERT WordPiece: [CLS] question [SEP], cut on the left when too long (as LLaMA-VID)."""

    def __init__(self, directory: str | Path, max_tokens: int) -> None:
        import tokenizers

        path = Path(directory) / QUESTION_MODEL_NAME
        _require_file(path)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the binding raises bare Exception for every kind of bad file
            raise CheckpointError(f"{path}: not a tokenizers file: {error}") from error
        self._tokenizer.enable_truncation(max_tokens, direction="left")

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, question: str) -> list[int]:
        """Token ids of the raw question."""
        return list(self._tokenizer.encode(_writable(question)).ids)


def _writable(text: str) -> str:
    """Refuse half a surrogate pair, which no encoding can write and the tokenizers crash on."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"the text is not valid Unicode at character {error.start}: {text[error.start]!r}") from error
    return text


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; copy it from the checkpoint this one was made of")
