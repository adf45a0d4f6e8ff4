"""Counts of what the directories of a TIFF name (TIFF 6.0 and BigTIFF), before Pillow makes a list of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from emo_edge.media.headers.image_header import BrokenImageError

MOST_TILES, MOST_ENTRIES = 20_000, 4096
"""Strips or tiles of a picture, which Pillow lists and decodes one by one: 64 megapixels in tiles of 64x64 are 15,625.
Entries of a directory: cameras write some fifty."""
OFFSET_TAGS = (273, 324)
"""Places of the strips, and of the tiles."""
BIG = 43
"""Version of BigTIFF, whose numbers are of 64 bits."""
DIRECTORIES = 2
"""Looked through: that of the picture, and the next, which says whether there are several."""


def check_tiff(data: bytes) -> None:
    """Raise BrokenImageError for a TIFF that is cut into too many parts, or whose directory is too long."""
    try:
        for tag, count in _entries(data):
            if tag in OFFSET_TAGS and count > MOST_TILES:
                raise BrokenImageError(f"this TIFF is cut into more than {MOST_TILES:,} strips or tiles: save it again")
    except struct.error:
        pass  # it ends too early, or is none: Pillow says so


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield tag and number of values of the entries of the first directories."""
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(order + "H", data, 2)
    # Of an offset, the number of entries and an entry: tag, type, number of values, and the value or its place.
    offset, number, entry = ("Q", "Q", "HHQ8x") if version == BIG else ("I", "H", "HHI4x")
    (start,) = struct.unpack_from(order + offset, data, 8 if version == BIG else 4)
    for _ in range(DIRECTORIES):
        (entries,) = struct.unpack_from(order + number, data, start)
        if entries > MOST_ENTRIES and start + entries * struct.calcsize(order + entry) <= len(data):
            raise BrokenImageError(f"a directory of this TIFF has more than {MOST_ENTRIES:,} entries: save it again")
        place = start + struct.calcsize(order + number)
        for _ in range(entries):
            tag, _kind, count = struct.unpack_from(order + entry, data, place)
            yield tag, count
            place += struct.calcsize(order + entry)
        (start,) = struct.unpack_from(order + offset, data, place)
        if not start:
            return
