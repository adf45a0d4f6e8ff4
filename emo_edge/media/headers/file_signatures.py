"""Recognise the format of a file by its first bytes; names and extensions do not count."""

from __future__ import annotations

from pathlib import Path

from emo_edge.media.headers.gif_frames import MOST_BYTES, is_animated_gif

HEAD_BYTES = 4096
"""Bytes of a file that `file_kind` reads: an animated PNG is marked somewhere before its pixels."""

STILL = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF", "AVIF", "HEIC")
"""Pictures that `emo_edge.media.images.read_image` decodes."""
MOVING = ("animated GIF", "animated PNG", "MP4", "AVI", "Matroska", "MPEG", "FLV", "WMV", "Ogg")
"""Containers that are read as videos."""

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
    return None


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
        animated = kind == "GIF" and is_animated_gif(head + file.read(MOST_BYTES))
    return "animated GIF" if animated else kind
