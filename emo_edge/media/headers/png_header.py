"""Read the header of a PNG (W3C, third edition) and keep only the chunks that hold pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from emo_edge.media.headers.image_header import AGAIN, BrokenImageError, ImageHeader, check_size, cut_off, too_many
from emo_edge.media.headers.orientation import exif_orientation

MOST_CHUNKS = 100_000
"""Programs write pixels in chunks of 8 KB and more, of which the largest file that is read holds 8,000."""
UNCHECKED_BYTES = 500_000
"""Of packed pixels: they unpack to at most a thousand times that, half a second."""
BLOCK = 1 << 18
"""Bytes that are unpacked at once."""
ANIMATED = "holds an animation (animated PNG), not one picture: give it as a video, or convert it to JPEG or PNG"
# Side chunks are left out of what is decoded: profiles make libpng print, texts may unpack to gigabytes, and
# orientation is applied here.
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_GREY, _WITH_ALPHA = 0, (4, 6)
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By PNG's number of the kind of colours."""
_PASSES = ((8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0), (2, 4, 0, 2), (2, 2, 1, 0), (1, 2, 0, 1))
"""Of an interlaced picture: steps in x and y, and where they begin."""


def png_header(data: bytes, max_pixels: int) -> ImageHeader:
    """Read the header; raise BrokenImageError for a PNG that is cut off, damaged, animated or too large."""
    if data[12:16] != b"IHDR":
        raise BrokenImageError(f"this PNG does not begin with its header (IHDR): {AGAIN}")
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    kept, orientation, clear, packed = [data[:8]], None, None, list[bytes]()
    keyed, end = False, len(data[:8])
    for name, payload, chunk in _chunks(data):
        end += len(chunk)
        if name in _PIXEL_CHUNKS:
            kept.append(chunk)
        elif name == b"eXIf" and orientation is None:
            orientation = exif_orientation(payload)
        elif name == b"acTL":
            raise BrokenImageError(ANIMATED)
        # libpng's readers give every other kind of transparency as a fourth channel.
        keyed |= name == b"tRNS"
        if name == b"IDAT":
            packed.append(payload)
        elif name == b"tRNS" and clear is None and colours == _GREY and len(payload) == 2:
            clear = _decoded_value(int.from_bytes(payload, "big"), depth)
    check_size("PNG", width, height, max_pixels, _pixel_bytes(depth, colours, keyed=keyed))
    _check_packed(packed, _raw_bytes(width, height, depth * _CHANNELS.get(colours, 1), interlaced))
    return ImageHeader("PNG", width, height, b"".join(kept), orientation or 1, True, clear, end)


def _pixel_bytes(depth: int, colours: int, *, keyed: bool) -> int:
    """Return the bytes of a pixel as it is decoded: one of grey becomes RGB, one with a colour key RGBA."""
    channels = 4 if colours in _WITH_ALPHA or (keyed and colours != _GREY) else 3
    return channels * max(depth // 8, 1) if colours != _GREY else max(depth // 8, 3)


def _raw_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Return the size of the unpacked rows, each with the byte of its filter."""
    passes = _PASSES if interlaced else ((1, 1, 0, 0),)
    sizes = (((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for dx, dy, x, y in passes)
    return sum((1 + (columns * bits + 7) // 8) * rows for columns, rows in sizes if columns > 0)


def _check_packed(packed: list[bytes], expected: int) -> None:
    """Raise for pixels that unpack to more than there are: libpng unpacks gigabytes to throw them away."""
    if sum(map(len, packed)) <= UNCHECKED_BYTES + expected // 1000:
        return
    unpacker, left = zlib.decompressobj(), expected + UNCHECKED_BYTES
    for part in packed:
        while part and left > 0:
            try:
                left -= len(unpacker.decompress(part, BLOCK))
            except zlib.error:
                return  # the decoder says so
            part = unpacker.unconsumed_tail
        if left <= 0:
            raise BrokenImageError(f"this PNG holds more pixels than its size says: {AGAIN}")


def _decoded_value(sample: int, depth: int) -> int:
    """Return the value that a grey sample is decoded to: bits above its depth mean nothing."""
    sample &= 2**depth - 1
    return sample if depth not in (1, 2, 4) else sample * 255 // (2**depth - 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield name, payload and all bytes of each chunk up to IEND; raise when that is missing or pixels are damaged."""
    position = 8
    for _ in range(MOST_CHUNKS):
        if position + 12 > len(data):
            raise cut_off("PNG", "its end (IEND) is missing")
        length, name = struct.unpack_from(">I4s", data, position)
        chunk = data[position : position + 12 + length]
        if len(chunk) < 12 + length:
            raise cut_off("PNG", "its end (IEND) is missing")
        if name in _PIXEL_CHUNKS and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise BrokenImageError(f"this PNG is damaged (wrong checksum in {name.decode()}): {AGAIN}")
        yield name, chunk[8:-4], chunk
        if name == b"IEND":
            return
        position += len(chunk)
    raise too_many("PNG", "chunks", MOST_CHUNKS)
