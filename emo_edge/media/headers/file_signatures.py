"""Recognise the format of a file by its first bytes; names and extensions do not count."""

from __future__ import annotations

import re
from pathlib import Path

from emo_edge.utils.files import transport_packet_bytes

HEAD_BYTES = 4096
"""Bytes of a file that `file_kind` reads: an animated PNG is marked somewhere before its pixels."""

STILL = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF", "AVIF", "HEIC")
"""Pictures that `emo_edge.media.images.read_image` decodes."""
MOVING = ("animated GIF", "animated PNG", "MP4", "AVI", "Matroska", "MPEG", "FLV", "WMV", "Ogg", "Motion JPEG")
"""Containers that are read as videos."""

MOTION_JPEG_NAMES = (".mjpeg", ".mjpg")
"""Extensions of JPEG pictures one after the other that are a video; under other names the first one is a picture."""

MOST_GIF_BLOCKS = 1_000_000
"""Blocks that are looked through, a fifth of a second; 64 MB in blocks of the usual 255 bytes are 250,000."""
MOST_GIF_BYTES = 64 * 1024 * 1024
"""Bytes that are looked through."""
_NEXT_JPEG = re.compile(rb"\xff\xd9\0*\xff\xd8\xff")
"""The end of a picture and the beginning of another; neither stands inside of coded pixels."""
_GIF_IMAGE, _GIF_EXTENSION = b"\x2c", b"\x21"

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"%PDF": "PDF",
    b"\x1aE\xdf\xa3": "Matroska",
    b"\0\0\x01\xba": "MPEG",
    b"\0\0\x01\xb3": "MPEG",
    b"FLV\x01": "FLV",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "WMV",
    b"OggS": "Ogg",
}
_RIFF = {b"WEBP": "WebP", b"AVI ": "AVI"}
_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def file_kind(head: bytes) -> str | None:
    """Name the format that ``head``, the first `HEAD_BYTES` of a file or all of it, belongs to; None if unknown."""
    head = head[:HEAD_BYTES]
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            animated = kind == "PNG" and b"acTL" in head.partition(b"IDAT")[0]
            return "animated PNG" if animated else kind
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso_kind(head)
    # Two letters prove little, so the length of the header that follows has to be one there is.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "MPEG" if transport_packet_bytes(head) else None


def _iso_kind(head: bytes) -> str:
    """Name the kind of an ISO base media file: AVIF and HEIC may call themselves by their container, mif1."""
    major = head[8:12]
    brands = [head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4], "big"), 256), 4)]
    if major in _AVIF_BRANDS or (major in _HEIF_BRANDS and any(brand in _AVIF_BRANDS for brand in brands)):
        return "AVIF"
    return "HEIC" if major in _HEIF_BRANDS else "MP4"


def kind_of_file(path: Path) -> str | None:
    """Name the format of a file's content, a GIF of several frames apart; raise OSError if it cannot be read."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        kind = file_kind(head)
        if kind == "GIF" and is_animated_gif(head + file.read(MOST_GIF_BYTES)):
            return "animated GIF"
        motion = kind == "JPEG" and path.suffix.lower() in MOTION_JPEG_NAMES
        if motion and _NEXT_JPEG.search(head + file.read(MOST_GIF_BYTES)):
            return "Motion JPEG"
    return kind


def is_animated_gif(data: bytes) -> bool:
    """Return True if ``data``, all of a GIF, holds a second frame."""
    frames, position, budget = 0, 13 + _table_bytes(data, 10), MOST_GIF_BLOCKS
    while budget > 0:
        mark = data[position : position + 1]
        if mark == _GIF_IMAGE:
            frames += 1
            position += 11 + _table_bytes(data, position + 9)
        elif mark == _GIF_EXTENSION:
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
