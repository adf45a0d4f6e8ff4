"""Small files that would take long or much memory: one clear error each, soon."""

from __future__ import annotations

import io
import resource
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from emo_edge.errors import InputError
from emo_edge.media.headers.file_signatures import is_animated_gif
from emo_edge.media.headers.orientation import exif_orientation
from emo_edge.media.headers.png_header import UNCHECKED_BYTES
from emo_edge.media.images import read_image

MOST_SECONDS, MOST_KIB = 2.0, 200_000
"""Of processor time and of more memory: every file here is refused before, or costs little."""


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(side: int, depth: int, colour: int, packed: bytes, *, interlaced: int = 0, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """Zeros packed a thousandfold: one block, which stands for itself after a full flush, again and again."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + block * megabytes + b"\3\0" + bytes(4)


def jpeg(width: int = 64, height: int = 64, scans: int = 0) -> bytes:
    """A progressive JPEG whose last scan comes ``scans`` times more."""
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), (120, 60, 30)).save(file, "JPEG", progressive=True, quality=50)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def segments(segment: bytes, count: int) -> bytes:
    data = jpeg()
    return data[:2] + segment * count + data[2:]


def webp_of_chunks() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGBA", (8, 8), (1, 2, 3, 4)).save(file, "WEBP")
    canvas = b"VP8X" + struct.pack("<II", 10, 0x10) + b"\7\0\0" * 2
    body = b"WEBP" + canvas + b"JUNK\0\0\0\0" * 200_000 + file.getvalue()[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp(side: int, alpha: bool) -> bytes:
    """The header of a lossless WebP."""
    bits = side - 1 | (side - 1) << 14 | alpha << 28
    return b"RIFF" + struct.pack("<I", 4 + 8 + 5) + b"WEBPVP8L" + struct.pack("<IB", 5, 0x2F) + struct.pack("<I", bits)


def gif(side: int, blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + blocks


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"", following: int = 0) -> bytes:
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<I", following) + rest


def strips(count: int) -> bytes:
    at = 8 + 2 + 9 * 12 + 4
    arrays = struct.pack(f"<{count}I", *[at] * count) + struct.pack(f"<{count}I", *[1] * count)
    layout = [(256, 4, 1, 1), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return tiff([*layout, (273, 4, count, at), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, at + 4 * count)], arrays)


def big_tiff(entries: list[tuple[int, int, int, int]]) -> bytes:
    table = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(entries)) + table + struct.pack("<Q", 0)


def second_page_of_strips() -> bytes:
    """A TIFF of one pixel, and a second directory whose picture is in a million strips."""
    file = io.BytesIO()
    Pillow.new("L", (1, 1)).save(file, "TIFF")
    first = file.getvalue()
    start = struct.unpack_from("<I", first, 4)[0]
    (entries,) = struct.unpack_from("<H", first, start)
    following = start + 2 + 12 * entries
    second = tiff([(273, 4, 1_000_000, 8)])[8:]
    return first[:following] + struct.pack("<I", len(first)) + first[following + 4 :] + second


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: jpeg(4000, 3000, 3000), r"goes over its 4000x3000 pixels 3,010 times"),
    "segments": (lambda: segments(b"\xff\xe5\0\2", 500_000), r"more than 10,000 segments"),
    "arithmetic": (
        lambda: jpeg().replace(b"\xff\xc2", b"\xff\xca", 1),
        r"browsers do not show \(SOF10\)",
    ),
    "chunks": (lambda: png(8, 8, 0, zeros(1), extra=chunk(b"teSt", b"") * 300_000), r"more than 100,000 chunks"),
    "packed": (lambda: png(1000, 8, 2, zeros(2000)), "holds more pixels than its size says"),
    "packed, and too large": (lambda: png(40_000, 8, 2, zeros(6000)), "40000x40000 pixels, more than the limit"),
    "four channels": (lambda: png(8000, 8, 6, zeros(1)), "8000x8000 pixels of 4 bytes, more than the limit"),
    "a colour key": (lambda: png(8000, 8, 3, zeros(1), extra=chunk(b"tRNS", b"\0")), "8000x8000 pixels of 4 bytes"),
    "webp with alpha": (lambda: webp(8000, True), "this WebP has 8000x8000 pixels of 4 bytes"),
    "sixteen bits": (lambda: png(8000, 16, 6, zeros(1)), "8000x8000 pixels of 8 bytes, more than the limit"),
    "interlaced": (lambda: png(8000, 16, 6, zeros(1), interlaced=1), "8000x8000 pixels of 8 bytes"),
    "webp chunks": (webp_of_chunks, r"more than 10,000 chunks"),
    "gif canvas": (lambda: gif(65535, b",\0\0\0\0\xff\xff\xff\xff\0\2\1L\0;"), "many times more pixels than the limit"),
    "strips": (lambda: strips(100_000), r"more than 20,000 strips or tiles"),
    "strips by the million": (lambda: strips(4_000_000), r"more than 20,000 strips or tiles"),
    "strips of a BigTIFF": (lambda: big_tiff([(273, 4, 1 << 40, 8)]), r"more than 20,000 strips or tiles"),
    "strips of the second page": (second_page_of_strips, r"more than 20,000 strips or tiles"),
    "a long directory": (lambda: tiff([(65_000, 3, 1, 0)] * 65_000), r"has more than 4,096 entries"),
}


@pytest.fixture
def bounded() -> Iterator[None]:
    before, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - before < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MOST_KIB


@pytest.fixture
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "hostile.dat").write_bytes(HOSTILE[request.param][0]())
    return tmp_path / "hostile.dat"


@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
def test_a_small_file_does_not_take_long(request: pytest.FixtureRequest, hostile: Path, bounded: None) -> None:
    message = HOSTILE[request.node.callspec.params["hostile"]][1]
    with pytest.raises(InputError, match=message):
        read_image(hostile)


def test_side_chunks_are_not_unpacked(tmp_path: Path, bounded: None) -> None:
    bomb = zeros(200)
    extra = chunk(b"iCCP", b"a\0\0" + bomb) + chunk(b"zTXt", b"a\0\0" + bomb) * 3
    (tmp_path / "bomb.png").write_bytes(png(8, 8, 0, zlib.compress(bytes(72)), extra=extra))
    assert read_image(tmp_path / "bomb.png").shape == (8, 8, 3)


def test_scans_that_pictures_have_are_read(tmp_path: Path) -> None:
    (tmp_path / "scans.jpg").write_bytes(jpeg(64, 64, 500))
    assert read_image(tmp_path / "scans.jpg").shape == (64, 64, 3)


def test_a_large_noisy_png_is_still_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 800, 3), dtype=np.uint8)
    Pillow.fromarray(noise).save(tmp_path / "noise.png", compress_level=1)
    assert (tmp_path / "noise.png").stat().st_size > UNCHECKED_BYTES
    np.testing.assert_array_equal(read_image(tmp_path / "noise.png"), noise)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")])
def test_an_orientation_of_any_integer_type_is_read(order: str, kind: int, code: str) -> None:
    value = struct.pack(order + code, 6).ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    block = mark + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)
    assert exif_orientation(block) == exif_orientation(b"Exif\0\0" + block) == 6


def test_a_directory_of_exif_that_never_ends_is_cut(bounded: None) -> None:
    block = b"MM\0*\0\0\0\x08" + struct.pack(">H", 65535) + struct.pack(">HHII", 256, 3, 1, 0) * 65535
    assert [exif_orientation(block) for _ in range(50)] == [1] * 50


def test_frames_of_a_gif_are_counted_no_further_than_needed(bounded: None) -> None:
    frame = b",\0\0\0\0\1\0\1\0\0\2\1L\0"
    assert not is_animated_gif(gif(1, frame + b";"))
    assert is_animated_gif(gif(1, b"!\xf9\4\0\0\0\0\0" + frame + frame + b";"))
    assert not is_animated_gif(gif(1, frame)[:-1])
    assert is_animated_gif(gif(1, b"!\xfe" + b"\1a" * 2_000_000)), "too long to say: a video's reader decides"


def test_a_jpeg_of_too_many_pixels_is_called_that(tmp_path: Path) -> None:
    small = jpeg(40, 24)
    path = tmp_path / "large.jpg"
    path.write_bytes(small.replace(struct.pack(">HH", 24, 40), struct.pack(">HH", 65_500, 65_500)))
    with pytest.raises(InputError, match="65500x65500 pixels, more than the limit of 64,000,000: shrink it"):
        read_image(path)
