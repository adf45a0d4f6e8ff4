"""Transparent pixels of every format become white."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from emo_edge.errors import InputError
from emo_edge.media.images import read_image
from emo_edge.media.transparency import over_white

WHITE = [255] * 3


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(width: int, depth: int, colour: int, row: bytes, clear: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"tRNS", clear) + pixels + chunk(b"IEND", b"")


def test_every_pair_of_colour_and_alpha_is_rounded() -> None:
    colour, alpha = (axis.ravel() for axis in np.meshgrid(np.arange(256), np.arange(256)))
    pixels = np.stack([colour, colour, 255 - colour, alpha], axis=1).astype(np.uint8)[None]
    right = np.round((pixels[..., :3] * (alpha[:, None] / 255)) + (255 - alpha[:, None])).astype(np.uint8)
    np.testing.assert_array_equal(over_white(pixels), right)
    np.testing.assert_array_equal(over_white(pixels[..., [2, 1, 0, 3]], blue_first=True), right)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear", "expected"),
    [
        (8, 0, bytes([5, 250]), b"\0\5", [WHITE, [250] * 3]),
        # Bits of the key above the depth mean nothing.
        (8, 0, bytes([5, 250]), b"\1\5", [WHITE, [250] * 3]),
        (4, 0, bytes([0x5A]), b"\0\5", [WHITE, [170] * 3]),
        (2, 0, bytes([0b01_10_0000]), b"\0\2", [[85] * 3, WHITE]),
        (1, 0, bytes([0b01_000000]), b"\0\0", [WHITE, WHITE]),
        # Sixteen bits are compared before they are rounded to eight.
        (16, 0, struct.pack(">2H", 5, 6), b"\0\5", [WHITE, [0] * 3]),
        (8, 2, bytes([1, 2, 3, 4, 5, 6]), struct.pack(">3H", 1, 2, 3), [WHITE, [4, 5, 6]]),
        (16, 2, struct.pack(">6H", 1, 2, 3, 1, 2, 4), struct.pack(">3H", 1, 2, 3), [WHITE, [0] * 3]),
    ],
)
def test_a_colour_key_of_a_png_is_white(
    tmp_path: Path, depth: int, colour: int, row: bytes, clear: bytes, expected: list[list[int]]
) -> None:
    (tmp_path / "key.png").write_bytes(png(2, depth, colour, row, clear))
    assert read_image(tmp_path / "key.png").tolist() == [expected]


@pytest.mark.parametrize("name", ["p.png", "p.webp", "p.tif", "p.avif", "p.heic", "p.gif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(tmp_path: Path, name: str, mode: str) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="waits for the extra photos")
    if name == "p.heic":
        pillow_heif.register_heif_opener()
    image = Pillow.new(mode, (32, 32), (0,) * (len(mode) - 1) + (255,))
    image.paste((0,) * len(mode), (0, 0, 16, 32))
    lossless: dict[str, Any] = {"p.webp": {"lossless": True}}.get(name, {})
    (image.convert("RGBA") if name in ("p.webp", "p.avif", "p.heic", "p.gif") else image).save(
        tmp_path / name, **lossless
    )
    frame = read_image(tmp_path / name)
    assert frame[:, :12].min() >= 250 and frame[:, 20:].max() <= 5


@pytest.mark.parametrize("name", ["p.png", "p.webp", "p.tif", "p.avif", "p.heic", "p.gif"])
def test_a_transparent_picture_may_have_fewer_pixels(tmp_path: Path, name: str) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="waits for the extra photos")
    if name == "p.heic":
        pillow_heif.register_heif_opener()
    lossless: dict[str, Any] = {"p.webp": {"lossless": True}}.get(name, {})
    Pillow.new("RGBA", (64, 64), (9, 9, 9, 0)).save(tmp_path / name, **lossless)
    with pytest.raises(InputError, match="64x64 pixels of 4 bytes, more than the limit of 12,288 bytes"):
        read_image(tmp_path / name, max_pixels=64 * 64)
    assert read_image(tmp_path / name, max_pixels=64 * 64 * 4 // 3 + 1).shape == (64, 64, 3)


def test_the_alpha_of_a_bmp_counts_where_its_header_names_it(tmp_path: Path) -> None:
    def bmp(alpha_mask: int, pixels: bytes) -> bytes:
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, alpha_mask)
        header = (struct.pack("<IiiHHIIiiII", 124, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks).ljust(124, b"\0")
        return b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + header + pixels

    pixels = bytes([1, 2, 3, 0, 4, 5, 6, 255])
    for mask, expected in ((0xFF000000, [WHITE, [6, 5, 4]]), (0, [[3, 2, 1], [6, 5, 4]])):
        (tmp_path / "p.bmp").write_bytes(bmp(mask, pixels))
        assert read_image(tmp_path / "p.bmp").tolist() == [expected]
    (tmp_path / "p.bmp").write_bytes(bmp(0xFF000000, bytes([1, 2, 3, 0, 4, 5, 6, 0])))
    assert read_image(tmp_path / "p.bmp").tolist() == [[[3, 2, 1], [6, 5, 4]]], "never written: padding"
