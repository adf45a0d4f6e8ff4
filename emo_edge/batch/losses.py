"""Chunks whose worker ended: read again, one input at a time, and given up where a second worker ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from emo_edge.batch.items import Item
from emo_edge.batch.reader import ReadChunk, lost_chunk
from emo_edge.rendering.tables.rows import TableSetup

AHEAD = 2
"""Chunks that a worker has: the one under way, and one that waits, so that it never does."""


class Chunk:
    """Inputs under way, and how often a worker ended with them."""

    def __init__(self, items: list[Item], losses: int = 0) -> None:
        self.items, self.losses = items, losses


def next_chunk(coming: Iterator[list[Item]], again: deque[Chunk]) -> Chunk | None:
    """Return the chunk to read next, those to be read again first; None if there is none."""
    if again:
        return again.popleft()
    items = next(coming, None)
    return None if items is None else Chunk(items)


def after_loss(lost: list[Chunk], again: deque[Chunk], setup: TableSetup, reason: str) -> ReadChunk | None:
    """Queue the chunks of a worker that ended, the first of which it read; return the row of an input to give up.

    Args:
        lost: chunks that the worker had, in the order in which it got them.
        again: queue of chunks to read again.
        setup: of the rows.
        reason: how the worker ended.
    """
    again.extend(lost[1:])
    if not lost:
        return None
    if len(lost[0].items) == 1 and lost[0].losses:
        return lost_chunk(setup, lost[0].items[0], reason)
    again.extendleft(Chunk([item], lost[0].losses + 1) for item in reversed(lost[0].items))
    return None
