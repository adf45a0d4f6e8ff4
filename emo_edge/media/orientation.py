"""The orientation of a picture: read from a block of Exif (Exif 2.3, TIFF 6.0), and undone."""

from __future__ import annotations

import struct

import numpy as np

from emo_edge.media.crops import Image

ORIENTATION_TAG = 0x0112
MOST_ENTRIES = 1000
"""Entries of a directory that are looked through; cameras write some twenty."""
_VALUES = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I"}
"""Storage of integers by the type of the entry: BYTE, SHORT, LONG and their signed forms."""


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation (1 to 8) that a block of Exif holds; 1 where it holds none or is damaged."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(min(entries, MOST_ENTRIES)):
            position = start + 2 + 12 * entry
            tag, kind = struct.unpack_from(order + "HH", tiff, position)
            if tag == ORIENTATION_TAG:
                (value,) = struct.unpack_from(order + _VALUES.get(kind, "H"), tiff, position + 8)
                return known_orientation(value)
    except struct.error:
        pass
    return 1


def known_orientation(value: object) -> int:
    """Return ``value`` if it is an orientation, 1 to 8; else 1, which is upright."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(image: Image, orientation: int) -> Image:
    """Undo an Exif orientation: 2 mirrored, 3 upside down, 4 both, 5 to 8 the same with rows and columns exchanged."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
