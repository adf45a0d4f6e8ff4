"""Prompts of one beginning, each in a sequence of its own, whose own positions are computed in common calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.llama_cpp.branches import BranchDecoder
from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.kept_questions import KeptQuestion
from emo_edge.runtimes.llama_cpp.prompt_positions import PromptPositions, embedded_rows
from emo_edge.runtimes.llama_cpp.token_embeddings import TokenEmbeddings

PROMPTS = 8
"""Prompts of a group; more gain little, for a call's time grows with its positions from there on."""


@dataclass(frozen=True)
class GroupedPrompt:
    """A prompt of a group, its sequence, and the rows that it takes from a kept question."""

    prompt: PromptPositions
    sequence: int
    question: KeptQuestion
    taken: range


def shared_rows(prompts: Sequence[GroupedPrompt]) -> int:
    """Return the rows that all begin with, in front of what any takes from a question."""
    first = prompts[0].prompt
    return min(min(one.prompt.common(first), one.taken.start) for one in prompts)


def own_cells(prompts: Sequence[GroupedPrompt], shared: int) -> int:
    """Return the cells of the attention cache that the prompts fill behind their first ``shared`` rows."""
    return sum(len(one.prompt) - shared - len(one.taken) for one in prompts)


class PromptGroup:
    """Computes such prompts behind what sequence 0 holds."""

    def __init__(
        self, native: Any, memory: Any, decode: BatchDecoder, branches: BranchDecoder, rows: TokenEmbeddings | None
    ) -> None:
        """Compute in llama.cpp's ``memory``; ``rows`` gives the embeddings of tokens."""
        self._native, self._memory, self._decode = native, memory, decode
        self._branches, self._token_rows = branches, rows

    def can_join(self, prompt: PromptPositions) -> bool:
        """Return whether a prompt's rows can be computed in one call with those of others."""
        return self._token_rows is not None and not prompt.whole

    def logits(self, prompts: Sequence[GroupedPrompt], shared: int) -> list[NDArray[np.float32]]:
        """Compute all prompts behind their first ``shared`` rows; return the logits of each one's last position."""
        for one in prompts:
            self._branches.fork(0, one.sequence)
        self._compute([(one, range(shared, one.taken.start)) for one in prompts])
        for one in prompts:
            one.question.give(self._native, self._memory, one.sequence, one.prompt, one.taken)
        return self._compute([(one, range(one.taken.stop, len(one.prompt))) for one in prompts])

    def _compute(self, parts: Sequence[tuple[GroupedPrompt, range]]) -> list[NDArray[np.float32]]:
        """Compute rows of several prompts; return the logits of the last positions of prompts among them."""
        rows = [(one, row) for one, range_ in parts for row in range_]
        logits = []
        for start in range(0, len(rows), self._decode.most):
            batch = rows[start : start + self._decode.most]
            values = [one.prompt.rows[row] for one, row in batch]
            alone = all(isinstance(value, int) for value in values)
            inputs = np.array(values, np.int32) if alone else embedded_rows(values, self._token_rows)
            places = np.array([one.prompt.places[row][0] for one, row in batch], np.int32)
            last = np.array([row == len(one.prompt) - 1 for one, row in batch])
            self._decode(inputs, places, np.array([one.sequence for one, _ in batch]), last)
            logits += [self._branches.row(int(row)).copy() for row in np.flatnonzero(last)]
        return logits
