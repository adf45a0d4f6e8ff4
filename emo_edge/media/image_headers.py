"""Read the size, the rotation and the completeness of a picture from its bytes, before anything is decoded.

Sources: PNG (W3C, third edition), JPEG (ITU-T T.81), Exif 2.3, WebP container (RFC 9649), BMP (Microsoft's
BITMAPINFOHEADER).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emo_edge.media.file_signatures import file_kind

AGAIN = "copy or save it again"


class BrokenImageError(ValueError):
    """The bytes are not a whole picture of a known format; the text gives the reason and the next step."""


@dataclass(frozen=True)
class ImageHeader:
    """The properties of a picture, from its bytes."""

    format: str
    """"JPEG", "PNG", "WebP" or "BMP"."""
    width: int
    height: int
    coded: bytes
    """Bytes to decode: the file, or of a PNG only the chunks that hold pixels."""
    orientation: int = 1
    """Exif orientation 1 to 8; 1 is upright."""


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP or BMP and check that the file is whole; raise BrokenImageError if not."""
    kind = file_kind(data)
    if kind not in _READERS:
        raise BrokenImageError(_refusal(kind))
    try:
        header = _READERS[kind](data)
    except (struct.error, IndexError) as error:
        raise BrokenImageError(f"this {kind} ends inside its header: {AGAIN}") from error
    if header.width < 1 or header.height < 1:
        raise BrokenImageError(f"this {kind} says it is {header.width}x{header.height} pixels: {AGAIN}")
    return header


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation (1 to 8) that a block of Exif holds; 1 where it holds none or is damaged."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _refusal(kind: str | None) -> str:
    if kind in ("GIF", "animated PNG"):
        return f"holds an animation ({kind}), not one picture: give it as a video, or convert it to JPEG or PNG"
    if kind == "animated WebP":
        return "holds an animated WebP, not one picture: convert it to MP4, or one of its frames to JPEG or PNG"
    if kind is None:
        return "not an image: the content is none of JPEG, PNG, WebP and BMP"
    return f"holds {kind}, which is not read as an image: convert it to JPEG, PNG, WebP or BMP"


_SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# The next marker that is neither fill, nor a stuffed byte of the pixels, nor a restart between them.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and payload of each segment up to the end-of-image marker; raise when that is missing."""
    position = 2
    while (match := _MARKER.search(data, position)) is not None:
        marker = match[1][0]
        if marker == 0xD9:
            return
        (length,) = struct.unpack_from(">H", data, match.end())
        yield marker, data[match.end() + 2 : match.end() + length]
        position = match.end() + length
    raise BrokenImageError(f"this JPEG is cut off, its end-of-image marker is missing: {AGAIN}")


def _jpeg(data: bytes) -> ImageHeader:
    width = height = 0
    orientation = 1
    for marker, payload in _jpeg_segments(data):
        if marker in _SIZE_MARKERS and not width:
            height, width = struct.unpack_from(">HH", payload, 1)
        elif marker == 0xE1 and payload.startswith(b"Exif\0\0"):
            orientation = exif_orientation(payload)
    return ImageHeader("JPEG", width, height, data, orientation)


# Side chunks are left out of what is decoded: profiles make libpng print, and orientation is applied here.
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield name, payload and all bytes of each chunk up to IEND; raise when that is missing or pixels are damaged."""
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        chunk = data[position : position + 12 + length]
        if len(chunk) < 12 + length:
            break
        if name in _PIXEL_CHUNKS and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise BrokenImageError(f"this PNG is damaged (wrong checksum in {name.decode()}): {AGAIN}")
        yield name, chunk[8:-4], chunk
        if name == b"IEND":
            return
        position += len(chunk)
    raise BrokenImageError(f"this PNG is cut off, its end (IEND) is missing: {AGAIN}")


def _png(data: bytes) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise BrokenImageError(f"this PNG does not begin with its header (IHDR): {AGAIN}")
    width, height = struct.unpack_from(">II", data, 16)
    kept, orientation = [data[:8]], 1
    for name, payload, chunk in _png_chunks(data):
        if name in _PIXEL_CHUNKS:
            kept.append(chunk)
        elif name == b"eXIf":
            orientation = exif_orientation(payload)
        elif name == b"acTL":
            raise BrokenImageError(_refusal("animated PNG"))
    return ImageHeader("PNG", width, height, b"".join(kept), orientation)


def _webp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise BrokenImageError(f"this WebP is cut off, {size + 8 - len(data):,} bytes are missing: {AGAIN}")
    first = data[12:16]
    if first == b"VP8X":
        if data[20] & 2:
            raise BrokenImageError(_refusal("animated WebP"))
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return ImageHeader("WebP", width, height, data, _webp_orientation(data))
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, data)
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("WebP", width & 0x3FFF, height & 0x3FFF, data)
    raise BrokenImageError(f"this WebP begins with an unknown chunk {first!r}: {AGAIN}")


def _webp_orientation(data: bytes) -> int:
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"EXIF":
            return exif_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return 1


def _bmp(data: bytes) -> ImageHeader:
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
        raise BrokenImageError(f"this BMP is cut off, {needed - len(data):,} bytes are missing: {AGAIN}")
    return ImageHeader("BMP", width, height, data)


_READERS: dict[str | None, Callable[[bytes], ImageHeader]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "BMP": _bmp,
}
