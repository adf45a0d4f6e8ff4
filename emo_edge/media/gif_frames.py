"""Frames of a GIF: one of a single frame is a picture, one of several a video (GIF89a)."""

from __future__ import annotations

MOST_BLOCKS = 1_000_000
"""Blocks that are looked through, a fifth of a second; 64 MB in blocks of the usual 255 bytes are 250,000."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes that are looked through."""
_IMAGE, _EXTENSION = b"\x2c", b"\x21"


def is_animated_gif(data: bytes) -> bool:
    """Return True if ``data``, all of a GIF, holds a second frame."""
    frames, position, budget = 0, 13 + _table_bytes(data, 10), MOST_BLOCKS
    while budget > 0:
        mark = data[position : position + 1]
        if mark == _IMAGE:
            frames += 1
            position += 11 + _table_bytes(data, position + 9)
        elif mark == _EXTENSION:
            position += 2
        else:
            return False
        if frames > 1:
            return True
        position, budget = _after_blocks(data, position, budget)
    return True


def _table_bytes(data: bytes, flags_at: int) -> int:
    """Return the size of the colour table that a byte of flags announces."""
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int, budget: int) -> tuple[int, int]:
    """Return the position after a row of blocks, each with its length in front, and what is left of ``budget``."""
    while position < len(data) and data[position] and budget > 0:
        position += 1 + data[position]
        budget -= 1
    return position + 1, budget - 1
