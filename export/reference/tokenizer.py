"""Text to token ids for LLaMA: the checkpoint's SentencePiece model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emo_edge.bundle.prompts import answer_ids
from emo_edge.errors import CheckpointError
from emo_edge.utils.files import refuse_substitute
from emo_edge.utils.native_paths import native_path
from emo_edge.utils.text import require_file, writable

LANGUAGE_MODEL_NAME = "tokenizer.model"
QUESTION_MODEL_NAME = "question_tokenizer.json"
LARGEST_MODEL = 64 << 20
"""Bytes of a SentencePiece model; one of 256,000 pieces has 4 MB."""


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

    def encode_answer(self, context: str, answer: str) -> list[int]:
        """Token ids that ``answer`` adds after ``context``, tokenised together as training saw them."""
        ids = answer_ids(self.encode, context, answer)
        if ids is None:
            raise CheckpointError(f"{self.path}: the answer {answer!r} merges with its context; end the context in ':'")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, without surrounding space; ids of a padded vocabulary, beyond the pieces, have none."""
        known = [int(token) for token in ids if int(token) < len(self)]
        return str(self._pieces.decode(known)).strip()
