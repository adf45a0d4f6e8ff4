"""A prompt row by row: what each row is, and where llama.cpp is to put it.

A row is a token id or an embedding. Text counts on; a picture may have places of its own (M-RoPE) or rows that attend
to each other, and is then computed as a whole. A call of llama.cpp takes tokens or embeddings: `prompt_batches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.runtimes.base.sessions import Chunk, PictureRows
from emo_edge.runtimes.llama_cpp.token_embeddings import TokenEmbeddings
from emo_edge.tensors import Tensor

Row = int | bytes
"""A token id, or the bytes of an embedding in float32."""


@dataclass(frozen=True)
class WholePicture:
    """Rows that are kept or computed together."""

    start: int
    stop: int
    causal: bool


@dataclass
class PromptPositions:
    """The rows of a prompt."""

    rows: list[Row] = field(default_factory=list)
    places: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Of each row, as M-RoPE counts: time, row, column and a fourth axis; text has its place in the first."""
    whole: list[WholePicture] = field(default_factory=list)
    next: int = 0
    """Place of what follows."""

    def __len__(self) -> int:
        return len(self.rows)

    def append(self, chunk: Chunk, require_known: Callable[[Sequence[int]], None]) -> None:
        """Add a chunk; raise InputError for values that are not finite, or what ``require_known`` raises for tokens."""
        if isinstance(chunk, PictureRows):
            self._append_picture(chunk)
            return
        if isinstance(chunk, np.ndarray) and chunk.dtype == np.float32:
            self._append_text(_row_bytes(chunk))
            return
        tokens = [int(token) for token in chunk]
        require_known(tokens)
        self._append_text(tokens)

    def _append_text(self, rows: Sequence[Row]) -> None:
        self.rows += rows
        self.places += [(place, place, place, 0) for place in range(self.next, self.next + len(rows))]
        self.next += len(rows)

    def _append_picture(self, picture: PictureRows) -> None:
        rows, start = _row_bytes(picture.embeddings), len(self.rows)
        if picture.grid is None:
            self._append_text(rows)
        else:
            self.rows += rows
            self.places += [(t + self.next, y + self.next, x + self.next, z) for t, y, x, z in picture.grid.tolist()]
            self.next += len(picture) if picture.span is None else picture.span
        if picture.grid is not None or not picture.causal:
            self.whole.append(WholePicture(start, len(self.rows), picture.causal))

    def first_picture_row(self) -> int:
        """Return the index of the first row that is no token; 0 where all are tokens."""
        return next((index for index, row in enumerate(self.rows) if not isinstance(row, int)), 0)

    def first(self, rows: int) -> PromptPositions:
        """Return the first ``rows``, which are fewer than all and cut no picture."""
        whole = [picture for picture in self.whole if picture.stop <= rows]
        return PromptPositions(self.rows[:rows], self.places[:rows], whole, self.places[rows][0])

    def common(self, other: PromptPositions) -> int:
        """Return the number of rows that both begin with, and at which a picture does not begin in the middle."""
        pairs = zip(self.rows, other.rows, self.places, other.places, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1] and pair[2] == pair[3], pairs))
        return self.cut(same)

    def cut(self, rows: int) -> int:
        """Return ``rows``, or the start of the picture that they would cut."""
        return next((picture.start for picture in self.whole if picture.start < rows < picture.stop), rows)

    def segments(self, start: int, stop: int) -> list[tuple[int, int, bool]]:
        """Cut the rows from ``start`` to ``stop`` into what can be computed in any batches, and whole pictures.

        Returns start, stop, and False for a picture whose rows attend to each other.
        """
        segments = []
        for picture in self.whole:
            if start <= picture.start < stop:
                segments += [(start, picture.start, True)] if start < picture.start else []
                segments.append((picture.start, picture.stop, picture.causal))
                start = picture.stop
        return [*segments, *([(start, stop, True)] if start < stop else [])]


def _row_bytes(embeddings: NDArray[np.float32]) -> list[Row]:
    if not np.isfinite(embeddings).all():
        raise InputError("the prompt's embeddings hold values that are not finite")
    return [row.tobytes() for row in embeddings]


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
