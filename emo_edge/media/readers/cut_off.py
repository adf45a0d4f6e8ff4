"""Find out whether a video file was cut off, or holds a second one, from its structures and not from its frames."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from emo_edge.utils.files import transport_packet_bytes

TAIL_BYTES = 1 << 16
MOST_PARTS = 10**7
ASF, FLV, PNG = b"\x30\x26\xb2\x75", b"FLV", b"\x89PNG\r\n\x1a\n"
"""First bytes of a file."""
FLV_TAG, FLV_KINDS = 11, (8, 9, 18)
"""Bytes in front of a tag's content; audio, video and data."""
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def is_cut_off(path: str | Path) -> bool:
    """Return True for a file whose container ends before its last structure does.

    Known of MP4, AVI, Matroska and WebM, MPEG-TS (a cut inside a packet), FLV, Ogg, WMV, GIF and PNG. A cut between
    two structures of a container that does not say how many there are (MPEG-TS, MPEG-PS) leaves no trace.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(TAIL_BYTES)
            check = _check_for(head)
            return check is not None and check(file, size, head)
    except (OSError, struct.error):
        return False


def holds_another(path: str | Path) -> bool:
    """Return True for a file with a second video behind the first, as ``cat`` joins them, which FFmpeg does not read.

    Known of MP4, FLV, WMV and PNG; FFmpeg reads on by itself in Matroska, MPEG, AVI and GIF.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(TAIL_BYTES)
            return any(_starts_again(file, size, head))
    except (OSError, struct.error):
        return False


def _starts_again(file: BinaryIO, size: int, head: bytes) -> Iterator[bool]:
    """Yield whether the file's format begins once more where its first video ends."""
    if head.startswith(ASF):
        end = _asf_bytes(head)
        if 0 < end < size:
            file.seek(end)
            yield file.read(len(ASF)) == ASF
    elif head.startswith(FLV):
        yield from (start.startswith(FLV) for _, start in _flv_tags(file, size, head))
    elif head.startswith(PNG):
        yield from _png_again(file, size)
    elif head[4:8] == b"ftyp":
        yield from (name == b"ftyp" for at, _, name in _box_places(file, size) if at)


def _png_again(file: BinaryIO, size: int) -> Iterator[bool]:
    at = len(PNG)
    for _ in range(MOST_PARTS):
        file.seek(at)
        chunk = file.read(8)
        if len(chunk) < 8:
            return
        at += 12 + int.from_bytes(chunk[:4], "big")
        if chunk[4:] == b"IEND":
            file.seek(at)
            yield file.read(len(PNG)) == PNG
            return


def _check_for(head: bytes) -> Callable[[BinaryIO, int, bytes], bool] | None:
    by_start: dict[bytes, Callable[[BinaryIO, int, bytes], bool]] = {
        b"RIFF": _riff,
        b"\x1aE\xdf\xa3": _matroska,
        FLV: _flv,
        b"OggS": _ogg,
        b"GIF8": lambda file, size, head: _tail(file, size).rstrip(b"\0")[-1:] != b";",
        b"\x89PNG": lambda file, size, head: b"IEND" not in _tail(file, size),
        ASF: _asf,
    }
    for start, check in by_start.items():
        if head.startswith(start):
            return check
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"):
        return _boxes
    return _transport if transport_packet_bytes(head) else None


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(size - TAIL_BYTES, 0))
    return file.read()


def _boxes(file: BinaryIO, size: int, head: bytes) -> bool:
    """Walk the boxes of an MP4 or MOV; one of size 0 reaches to the end of the file."""
    end = 0
    for at, length, name in _box_places(file, size):
        if length < 8 or not name.isascii() or not name.decode("ascii").isprintable():
            return False
        end = at + length
    return end > size


def _box_places(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield place, bytes and name of each box, and a last one with fewer than 8 bytes where there is none."""
    at = 0
    for _ in range(MOST_PARTS):
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8)) if size - at >= 8 else (0, b"")
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        yield at, length, name
        at += length
        if length < 8 or at >= size:
            return


def _riff(file: BinaryIO, size: int, head: bytes) -> bool:
    """Walk the RIFF chunks of an AVI; a recorder that never closed its file left a size of 0."""
    at = 0
    while size - at >= 12:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in (0, 0xFFFFFFFF):
            return False
        at += 8 + length + length % 2
    return at - 1 > size


def _matroska(file: BinaryIO, size: int, head: bytes) -> bool:
    """Walk the elements; one of unknown size, as a live recording has, is entered."""
    at = 0
    for _ in range(MOST_PARTS):
        if at >= size:
            break
        file.seek(at)
        start = file.read(12)
        id_bytes = _vint_length(start, 0, most=4)
        size_bytes = _vint_length(start, id_bytes, most=8) if id_bytes else 0
        if not size_bytes:
            # Too short for a header; or bytes that are none, as some programs leave behind.
            return bool(id_bytes) and len(start) < 12
        value = int.from_bytes(start[id_bytes : id_bytes + size_bytes], "big")
        length = value & ((1 << (7 * size_bytes)) - 1)
        at += id_bytes + size_bytes
        if length != (1 << (7 * size_bytes)) - 1:
            at += length
    return at > size


def _vint_length(data: bytes, at: int, *, most: int) -> int:
    """Return the bytes of the variable-length integer at ``at``; 0 where none is, or not all of it."""
    length = 9 - data[at].bit_length() if at < len(data) and data[at] else 0
    return length if length <= most and at + length <= len(data) else 0


def _transport(file: BinaryIO, size: int, head: bytes) -> bool:
    return size % transport_packet_bytes(head) != 0


def _flv(file: BinaryIO, size: int, head: bytes) -> bool:
    """Walk the tags, each followed by four bytes that repeat its size."""
    end = 0
    for at, start in _flv_tags(file, size, head):
        if len(start) < FLV_TAG or start[0] & 0x1F not in FLV_KINDS:
            return 0 < len(start) < FLV_TAG
        end = at + FLV_TAG + int.from_bytes(start[1:4], "big")
    return end > size


def _flv_tags(file: BinaryIO, size: int, head: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the place and the first bytes of each tag, and a last one that is none where the walk ends there."""
    at = int.from_bytes(head[5:9], "big") + 4
    for _ in range(MOST_PARTS):
        file.seek(at)
        start = file.read(FLV_TAG)
        yield at, start
        if len(start) < FLV_TAG or start[0] & 0x1F not in FLV_KINDS:
            return
        at += FLV_TAG + int.from_bytes(start[1:4], "big")
        if at >= size:
            return
        at += 4


def _ogg(file: BinaryIO, size: int, head: bytes) -> bool:
    tail = _tail(file, size)
    at = tail.rfind(b"OggS")
    if at < 0:
        return True
    page = tail[at:]
    segments = page[26] if len(page) > 26 else 255
    return len(page) < 27 + segments or len(page) < 27 + segments + sum(page[27 : 27 + segments])


def _asf(file: BinaryIO, size: int, head: bytes) -> bool:
    """Compare with the size in the header; a broadcast has none."""
    return 0 < size < _asf_bytes(head)


def _asf_bytes(head: bytes) -> int:
    """Return the size of the file that its header states; 0 where it states none."""
    at = head.find(ASF_FILE_PROPERTIES)
    return int.from_bytes(head[at + 40 : at + 48], "little") if at >= 0 else 0
