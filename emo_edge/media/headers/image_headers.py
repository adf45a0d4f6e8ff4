"""Read the size, the rotation and the completeness of a picture from its bytes, before anything is decoded.

Sources: WebP container (RFC 9649), BMP (Microsoft's BITMAPINFOHEADER and BITMAPV5HEADER); JPEG and PNG have modules of
their own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from emo_edge.media.headers.file_signatures import MOVING, file_kind
from emo_edge.media.headers.image_header import (
    AGAIN,
    RGB_BYTES,
    BrokenImageError,
    ImageHeader,
    check_size,
    cut_off,
    too_many,
)
from emo_edge.media.headers.jpeg_header import jpeg_header
from emo_edge.media.headers.orientation import exif_orientation
from emo_edge.media.headers.png_header import ANIMATED, png_header

__all__ = ["AGAIN", "BrokenImageError", "ImageHeader", "exif_orientation", "read_header"]

MAX_PIXELS = 64_000_000
"""192 MB as RGB, enough for a 50-megapixel phone."""
MOST_CHUNKS = 10_000
"""Of a WebP that is one picture: programs write up to seven."""


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP or BMP; raise BrokenImageError for a file that is not whole or too large."""
    kind = file_kind(data)
    if kind not in _READERS:
        raise BrokenImageError(_refusal(kind))
    try:
        header = _READERS[kind](data, max_pixels)
    except (struct.error, IndexError) as error:
        raise BrokenImageError(f"this {kind} ends inside its header: {AGAIN}") from error
    if header.width < 1 or header.height < 1:
        raise BrokenImageError(f"this {kind} says it is {header.width}x{header.height} pixels: {AGAIN}")
    check_size(kind or "", header.width, header.height, max_pixels)
    return header


def _refusal(kind: str | None) -> str:
    if kind == "animated PNG":
        return ANIMATED
    if kind is None:
        return "not an image: the content is none of JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC and AVIF"
    if kind in MOVING:
        return f"holds {kind}, a video and not one picture: save it as a file, and give that as a source of its own"
    return f"holds {kind}, which is not read as an image: convert it to JPEG, PNG, WebP or BMP"


def _webp(data: bytes, max_pixels: int) -> ImageHeader:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise cut_off("WebP", f"{size + 8 - len(data):,} bytes are missing")
    first, end = data[12:16], size + 8 + size % 2
    if first == b"VP8X":
        if data[20] & 2:
            raise BrokenImageError(
                "holds an animated WebP, not one picture: convert it to MP4, or one of its frames to JPEG or PNG"
            )
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        check_size("WebP", width, height, max_pixels, RGB_BYTES + bool(data[20] & _WEBP_ALPHA))
        return ImageHeader("WebP", width, height, data, _webp_orientation(data), True, end=end)
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        check_size("WebP", width, height, max_pixels, RGB_BYTES + (bits >> 28 & 1))
        return ImageHeader("WebP", width, height, data, 1, True, end=end)
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("WebP", width & 0x3FFF, height & 0x3FFF, data, 1, True, end=end)
    raise BrokenImageError(f"this WebP begins with an unknown chunk {first!r}: {AGAIN}")


def _webp_orientation(data: bytes) -> int:
    position = 12
    for _ in range(MOST_CHUNKS):
        if position + 8 > len(data):
            return 1
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"EXIF":
            return exif_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    raise too_many("WebP", "chunks", MOST_CHUNKS)


def _bmp(data: bytes, max_pixels: int) -> ImageHeader:
    size, _, pixels, header = struct.unpack_from("<IIII", data, 2)
    compression = 0
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        height = abs(height)
    # Run-length coded rows have no fixed length; the others do, and many writers leave the file's size at 0.
    coded = compression in (1, 2, 4, 5)
    needed = size if coded else pixels + (width * bits + 31) // 32 * 4 * height
    if needed > len(data) and width > 0:
        raise cut_off("BMP", f"{needed - len(data):,} bytes are missing")
    return ImageHeader("BMP", width, height, data, 1, _bmp_alpha(data, header, compression), end=size or None)


def _bmp_alpha(data: bytes, header: int, compression: int) -> bool:
    """Return True if the header names the bits of transparency; without that a fourth byte is padding."""
    return compression == 3 and header >= 56 and struct.unpack_from("<I", data, 66)[0] != 0


_WEBP_ALPHA = 0x10
"""Of the flags of a VP8X chunk."""
_READERS: dict[str | None, Callable[[bytes, int], ImageHeader]] = {
    "JPEG": jpeg_header,
    "PNG": png_header,
    "WebP": _webp,
    "BMP": _bmp,
}
