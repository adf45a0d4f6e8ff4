"""How a prompt is cut into calls of llama.cpp, each of which takes tokens or embeddings, not both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from emo_edge.runtimes.llama_cpp.token_embeddings import TokenEmbeddings
from emo_edge.tensors import Tensor

Place = int | bytes
"""A position of a prompt: a token id, or the bytes of an embedding in float32."""


def prompt_batches(
    places: Sequence[Place], start: int, limit: int, rows: TokenEmbeddings | None
) -> Iterator[tuple[int, Tensor]]:
    """Cut the places from ``start`` on into batches of one kind: token ids int32 [N] or embeddings float32 [N, E].

    Tokens beside embeddings become embeddings where their rows are known, since every batch reads all weights.
    Yields each batch, of ``limit`` places at most, with the place it starts at.
    """
    rest = places[start:]
    mixed = rows is not None and len({type(place) for place in rest}) > 1
    for run in [rest] if mixed else [list(places) for _, places in groupby(rest, key=type)]:
        for cut in range(0, len(run), limit):
            part = run[cut : cut + limit]
            alone = all(isinstance(place, int) for place in part)
            yield start + cut, np.array(part, np.int32) if alone else _embedded(part, rows)
        start += len(run)


def _embedded(part: Sequence[Place], rows: TokenEmbeddings | None) -> NDArray[np.float32]:
    tokens = [place for place in part if isinstance(place, int)]
    known = iter(rows(tokens)) if rows and tokens else iter(())
    return np.stack([next(known) if isinstance(place, int) else np.frombuffer(place, np.float32) for place in part])
