"""Small vocabularies of the two kinds that llama.cpp's VLMs have: SentencePiece, and bytes with merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

from emo_edge.assets.packaged import packaged_checkpoint

NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6
ADDED_SCORE = -1000.0
"""That llama.cpp's converter gives to tokens which SentencePiece's file has not."""
WORDS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "person", "image", "expression")
"""Words that byte merges put together, with a space before them and without."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens as a GGUF file has them."""

    kind: str
    """``tokenizer.ggml.model``."""
    tokens: list[str]
    types: list[int]
    begin: int
    end: int
    add_begin: bool
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    pre: str = "default"
    add_space: bool = True
    pad: int | None = None

    def write(self, writer: Any) -> None:
        """Add it to a GGUF writer."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores:
            writer.add_token_scores(list(self.scores))
        if self.merges:
            writer.add_token_merges(list(self.merges))
        writer.add_bos_token_id(self.begin)
        writer.add_eos_token_id(self.end)
        writer.add_add_bos_token(self.add_begin)
        if self.pad is not None:
            writer.add_pad_token_id(self.pad)
        if not self.add_space:
            writer.add_add_space_prefix(False)

    @property
    def added(self) -> list[int]:
        """Ids of the control tokens of the family, which no SentencePiece file has."""
        return [
            index
            for index, kind in enumerate(self.types)
            if kind == CONTROL and (not self.scores or self.scores[index] == ADDED_SCORE)
        ]

    def id(self, token: str) -> int:
        """Return the id of a token."""
        return self.tokens.index(token)


def sentence_pieces(control: Sequence[str] = (), *, add_space: bool = True) -> Vocabulary:
    """Return emo-tiny's own vocabulary with the control tokens of a family behind it.

    ``add_space`` says whether a text begins with a space that is not there.
    """
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(packaged_checkpoint("emo-tiny") / "tokenizer.model"))
    tokens, scores, types = [], [], []
    for index in range(pieces.vocab_size()):
        tokens.append(pieces.id_to_piece(index))
        scores.append(pieces.get_score(index))
        kinds = ((pieces.is_unknown, UNKNOWN), (pieces.is_control, CONTROL), (pieces.is_byte, BYTE))
        types.append(next((kind for holds, kind in kinds if holds(index)), NORMAL))
    return Vocabulary(
        "llama",
        tokens + list(control),
        types + [CONTROL] * len(control),
        pieces.bos_id(),
        pieces.eos_id(),
        True,
        scores + [ADDED_SCORE] * len(control),
        add_space=add_space,
    )


def byte_merges(pre: str, control: Sequence[str], begin: str, end: str, *, add_begin: bool = False) -> Vocabulary:
    """Return a vocabulary of 256 bytes, some words and the control tokens of a family."""
    tokens = sorted(ByteLevel.alphabet())
    merges = []
    for word in [prefix + word for word in WORDS for prefix in ("", "Ġ")]:
        for length in range(1, len(word)):
            left, right = word[:length], word[length]
            if left + right not in tokens:
                tokens.append(left + right)
                merges.append(f"{left} {right}")
    types = [NORMAL] * len(tokens) + [CONTROL] * len(control)
    tokens += control
    return Vocabulary("gpt2", tokens, types, tokens.index(begin), tokens.index(end), add_begin, merges=merges, pre=pre)
