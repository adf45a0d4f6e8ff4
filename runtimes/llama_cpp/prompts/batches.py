"""Split of a prompt into calls of llama.cpp, each of which takes tokens or embeddings, not both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.runtimes.llama_cpp.prompts.positions import PromptPositions, Row
from emo_edge.runtimes.llama_cpp.token_embeddings import TokenEmbeddings
from emo_edge.tensors import Tensor


def prompt_batches(
    prompt: PromptPositions, start: int, stop: int, limit: int, rows: TokenEmbeddings | None
) -> Iterator[tuple[int, Tensor, bool]]:
    """Cut the rows from ``start`` to ``stop`` into batches: token ids int32 [N], or embeddings float32 [N, E].

    Yields each batch, of ``limit`` rows at most, with the row it starts at, and False for a picture whose rows attend
    to each other. Raises InputError where such a picture has more rows than a batch.
    """
    for begin, end, causal in prompt.segments(start, stop):
        if not causal and end - begin > limit:
            raise InputError(f"a picture takes {end - begin} positions at once, the context computes {limit}")
        for first, inputs in _batches(prompt.rows[begin:end], begin, limit, rows):
            yield first, inputs, causal


def _batches(rest: Sequence[Row], start: int, limit: int, rows: TokenEmbeddings | None) -> Iterator[tuple[int, Tensor]]:
    """Tokens next to embeddings become embeddings where their rows are known: every batch reads all weights."""
    mixed = rows is not None and len({type(position) for position in rest}) > 1
    for run in [rest] if mixed else [list(same) for _, same in groupby(rest, key=type)]:
        for cut in range(0, len(run), limit):
            part = run[cut : cut + limit]
            alone = all(isinstance(position, int) for position in part)
            yield start + cut, np.array(part, np.int32) if alone else embedded_rows(part, rows)
        start += len(run)


def embedded_rows(part: Sequence[Row], rows: TokenEmbeddings | None) -> NDArray[np.float32]:
    """Return rows as embeddings float32 [N, E]; tokens among them need ``rows``."""
    tokens = [position for position in part if isinstance(position, int)]
    known = iter(rows(tokens)) if rows and tokens else iter(())
    return np.stack([next(known) if isinstance(one, int) else np.frombuffer(one, np.float32) for one in part])
