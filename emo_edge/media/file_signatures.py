"""Recognise the format of a file by its first bytes; names and extensions do not count."""

from __future__ import annotations

HEAD_BYTES = 4096
"""Bytes of a file that `file_kind` reads: an animated PNG is marked somewhere before its pixels."""

STILL = ("JPEG", "PNG", "WebP", "BMP")
"""Pictures that `emo_edge.media.images.read_image` decodes."""
MOVING = ("GIF", "animated PNG", "MP4", "AVI", "Matroska", "MPEG", "FLV", "WMV", "Ogg")
"""Containers that are read as videos."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
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
_HEIF_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"mif1": "HEIC", b"msf1": "HEIC"}
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
        return _HEIF_BRANDS.get(head[8:12], "HEIC" if head[8:11] in (b"hei", b"hev") else "MP4")
    # Two letters prove little, so the length of the header that follows has to be one there is.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None
