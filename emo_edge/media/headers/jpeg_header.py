"""Read the header of a JPEG (ITU-T T.81), and count what its decoding costs."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from emo_edge.media.headers.image_header import BrokenImageError, ImageHeader, check_size, cut_off, too_many
from emo_edge.media.headers.orientation import exif_orientation

MOST_SEGMENTS = 10_000
"""Cameras write a few dozen; colour profiles at most 255."""
MOST_WORK = 1_000_000_000
"""Scans times pixels: a decoder goes over every pixel in each scan, 1 to 3 ns a time, however short the scan is.
A progressive picture of 64 megapixels may have 15 scans; programs write 6 to 10."""

MULTI_PICTURE = b"MPF\0"
"""Beginning of the segment that lists the other pictures of a file (CIPA DC-007): gain maps, other views."""

_SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_USUAL = (0xC0, 0xC1, 0xC2)
"""Baseline, extended sequential and progressive, all with Huffman codes."""
# The next marker that is neither fill, nor a stuffed byte of the pixels, nor a restart between them.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)


def jpeg_header(data: bytes, max_pixels: int) -> ImageHeader:
    """Read the header; raise BrokenImageError for a JPEG that is cut off, too large, or costs more than its pixels."""
    width = height = scans = 0
    orientation: int | None = None
    end, declares_others = 0, False
    for marker, payload, after in _segments(data):
        end = after
        if marker in _SIZE_MARKERS and not width:
            if marker not in _USUAL:
                raise BrokenImageError(
                    f"this JPEG is of a kind that browsers do not show (SOF{marker - 0xC0}): save it as a usual JPEG"
                )
            height, width = struct.unpack_from(">HH", payload, 1)
        elif marker == 0xDA:
            scans += 1
        elif marker == 0xE2 and payload.startswith(MULTI_PICTURE):
            declares_others = True
        elif marker == 0xE1 and orientation is None and payload.startswith(b"Exif\0\0"):
            orientation = exif_orientation(payload)
    check_size("JPEG", width, height, max_pixels)
    if scans * width * height > MOST_WORK:
        raise BrokenImageError(
            f"this JPEG goes over its {width}x{height} pixels {scans:,} times, more than any program writes: "
            "save it again, as a JPEG that is not progressive"
        )
    return ImageHeader("JPEG", width, height, data, orientation or 1, end=None if declares_others else end)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, payload and end of each segment, the end-of-image marker last; raise when that is missing."""
    position, count = 2, 0
    while (match := _MARKER.search(data, position)) is not None:
        marker = match[1][0]
        if marker == 0xD9:
            yield marker, b"", match.end()
            return
        count += 1
        if count > MOST_SEGMENTS:
            raise too_many("JPEG", "segments", MOST_SEGMENTS)
        (length,) = struct.unpack_from(">H", data, match.end())
        position = match.end() + length
        yield marker, data[match.end() + 2 : position], position
    raise cut_off("JPEG", "its end-of-image marker is missing")
