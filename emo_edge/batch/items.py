"""One input of a run: a picture or a video, in a file or in the bytes of a shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CHUNK_ITEMS = 8
"""Pictures that a worker gets at a time."""
CHUNK_BYTES = 32 << 20
"""Bytes of a chunk that come with it instead of from a file."""


@dataclass(frozen=True)
class Item:
    """An input; small, so that a million of them can be sent from process to process."""

    name: str
    """As the column ``source`` has it, before it is quoted."""
    path: str | None = None
    """File to read; None where ``data`` or ``error`` is given."""
    data: bytes | None = None
    """Content of a picture that lies in a shard."""
    video: bool = False
    error: str | None = None
    """Reason why the input can be read by nobody, such as a shard that breaks off."""
    labelled: bool = False
    """True if an earlier run has rows of this name."""
    known: str | None = None
    """sha256 of the content that those rows are of; None if it could not be read."""


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut items into chunks for workers; a video is one of its own."""
    chunk, size = list[Item](), 0
    for item in items:
        if item.video:
            yield [item]
            continue
        chunk.append(item)
        size += len(item.data or b"")
        if len(chunk) == CHUNK_ITEMS or size > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
