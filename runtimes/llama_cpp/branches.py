"""Continuations of prompts that the context holds, each computed on a fork of its prompt's sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.llama_cpp.decoding import BatchDecoder
from emo_edge.runtimes.llama_cpp.sampling import log_softmax

Token = tuple[int, int, int]
"""Token id, position, sequence."""


@dataclass(frozen=True)
class Branch:
    """A continuation of a prompt, and its log-probabilities."""

    tokens: Sequence[int]
    sequence: int
    """Of the prompt."""
    place: int
    """Position of what follows the prompt."""
    scores: NDArray[np.float32]
    """One a token, filled in as they are known."""


def branches_after(
    logits: NDArray[np.float32], continuations: Sequence[Sequence[int]], sequence: int, place: int
) -> list[Branch]:
    """Return the branches of a prompt, whose last position gives ``logits``: their first tokens are known by these."""
    first = log_softmax(logits)
    return [
        Branch(tokens, sequence, place, np.full(len(tokens), first[tokens[0]], np.float32)) for tokens in continuations
    ]


class BranchDecoder:
    """Computes branches in the sequences that are free for forks."""

    def __init__(
        self, native: Any, memory: Any, decode: BatchDecoder, row: Callable[[int], NDArray[np.float32]]
    ) -> None:
        """Fork in llama.cpp's ``memory``; ``row`` gives the logits of one position of the last batch."""
        self._native, self._memory, self._decode, self.row = native, memory, decode, row

    def fill(self, branches: Sequence[Branch], forks: range, cells: int) -> None:
        """Compute all but the first tokens of the branches.

        Args:
            branches: their prompts are in the context.
            forks: sequences that are free, one or more.
            cells: of the attention cache that are free, enough for the longest branch.
        """
        for group in _rounds(branches, len(forks), cells):
            try:
                self._fill_round(group, forks)
            finally:
                self.drop(forks[: len(group)])

    def _fill_round(self, group: Sequence[Branch], forks: range) -> None:
        tokens: list[Token] = []
        targets: list[tuple[Branch, int]] = []
        for fork, branch in zip(forks, group, strict=False):
            self.fork(branch.sequence, fork)
            for step, token in enumerate(branch.tokens[:-1]):
                tokens.append((token, branch.place + step, fork))
                targets.append((branch, step + 1))
        most = self._decode.most
        for start in range(0, len(tokens), most):
            self.decode(tokens[start : start + most])
            for row, (branch, step) in enumerate(targets[start : start + most]):
                branch.scores[step] = log_softmax(self.row(row))[branch.tokens[step]]

    def decode(self, tokens: Sequence[Token]) -> None:
        """Compute one batch of tokens, each with its logits."""
        ids, positions, sequences = np.array(tokens, np.int32).T
        self._decode(ids, positions, sequences, np.ones(len(tokens)))

    def fork(self, sequence: int, fork: int) -> None:
        """Let a sequence use all cells of another."""
        self._native.llama_memory_seq_cp(self._memory, sequence, fork, -1, -1)

    def drop(self, forks: Sequence[int]) -> None:
        """Empty these sequences."""
        for fork in forks:
            self._native.llama_memory_seq_rm(self._memory, fork, -1, -1)


def _rounds(branches: Sequence[Branch], forks: int, cells: int) -> Iterator[list[Branch]]:
    """Group the branches that need computing so that each group has a sequence and its cells for each."""
    group: list[Branch] = []
    free = cells
    for branch in branches:
        needed = len(branch.tokens) - 1
        if not needed:
            continue
        if group and (len(group) == forks or needed > free):
            yield group
            group, free = [], cells
        group.append(branch)
        free -= needed
    if group:
        yield group
