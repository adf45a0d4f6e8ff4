"""Split of a prompt into calls of llama.cpp, each of which takes tokens or embeddings, not both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.llama_cpp.token_embeddings import TokenEmbeddings
from emo_edge.tensors import Tensor

Position = int | bytes
"""A position of a prompt: a token id, or the bytes of an embedding in float32."""


def prompt_batches(
    positions: Sequence[Position], start: int, limit: int, rows: TokenEmbeddings | None
) -> Iterator[tuple[int, Tensor]]:
    """Cut the positions from ``start`` on into batches of one kind: token ids int32 [N] or embeddings float32 [N, E].

    Tokens next to embeddings become embeddings where their rows are known, since every batch reads all weights.
    Yields each batch, of ``limit`` positions at most, with the position it starts at.
    """
    rest = positions[start:]
    mixed = rows is not None and len({type(position) for position in rest}) > 1
    for run in [rest] if mixed else [list(same) for _, same in groupby(rest, key=type)]:
        for cut in range(0, len(run), limit):
            part = run[cut : cut + limit]
            alone = all(isinstance(position, int) for position in part)
            yield start + cut, np.array(part, np.int32) if alone else _embedded(part, rows)
        start += len(run)


def _embedded(part: Sequence[Position], rows: TokenEmbeddings | None) -> NDArray[np.float32]:
    tokens = [position for position in part if isinstance(position, int)]
    known = iter(rows(tokens)) if rows and tokens else iter(())
    return np.stack([next(known) if isinstance(one, int) else np.frombuffer(one, np.float32) for one in part])
