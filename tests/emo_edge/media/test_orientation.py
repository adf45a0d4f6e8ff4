"""Pictures of the extra ``photos`` that are stored turned: TIFF's tag 274, the boxes irot and imir of HEIC and AVIF."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.media.headers.orientation import ORIENTATION_TAG, upright
from emo_edge.media.images import read_image

Pillow = pytest.importorskip("PIL.Image", reason="waits for the extra photos")
pillow_heif = pytest.importorskip("pillow_heif", reason="waits for the extra photos")
WIDTH, HEIGHT = 128, 64
"""Whole blocks of the coders: other sizes get a box that crops."""
BYTE, SHORT, LONG = 1, 3, 4
TOLERANCE = 12
"""Of the mean colour of a quarter, which is far from those of the others."""
TURNS = {b"irot": {1: 8, 2: 3, 3: 6}, b"imir": {0: 4, 1: 2}}
"""Exif's orientation of each value: irot counts quarters against the clock (ISO 23008-12, 6.5.10 and 6.5.12)."""


def quarters() -> NDArray[np.uint8]:
    """Return a picture of four colours."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    half, middle = HEIGHT // 2, WIDTH // 2
    image[:half, :middle], image[:half, middle:] = (250, 10, 10), (10, 250, 10)
    image[half:, :middle], image[half:, middle:] = (10, 10, 250), (250, 250, 250)
    return image


def saved(kind: str, **settings: Any) -> bytes:
    pillow_heif.register_heif_opener()
    stream = io.BytesIO()
    Pillow.fromarray(quarters()).save(stream, kind, quality=95, **settings)
    return stream.getvalue()


def exif(orientation: int) -> Any:
    block = Pillow.Exif()
    block[ORIENTATION_TAG] = orientation
    return block


def require_upright(path: Path, content: bytes, orientation: int) -> None:
    """Compare the colours of the quarters with those that an orientation gives."""
    path.write_bytes(content)
    image, expected = read_image(path), upright(quarters(), orientation)
    assert image.shape == expected.shape
    half, middle = image.shape[0] // 2, image.shape[1] // 2
    for rows in (slice(0, half), slice(half, None)):
        for columns in (slice(0, middle), slice(middle, None)):
            difference = image[rows, columns].mean((0, 1)) - expected[rows, columns].mean((0, 1))
            assert np.abs(difference).max() < TOLERANCE


def tiff(order: str, kind: int, orientation: int) -> bytes:
    """Write an uncompressed TIFF of one strip, whose orientation is a value of the type ``kind``."""
    pixels = quarters().tobytes()
    entries = [
        *[(256, LONG, 1, WIDTH), (257, LONG, 1, HEIGHT), (258, SHORT, 1, 8), (259, SHORT, 1, 1), (262, SHORT, 1, 2)],
        *[(273, LONG, 1, 8), (ORIENTATION_TAG, kind, 1, orientation), (277, SHORT, 1, 3), (278, LONG, 1, HEIGHT)],
        (279, LONG, 1, len(pixels)),
    ]
    codes = {BYTE: "B3x", SHORT: "H2x", LONG: "I"}
    table = b"".join(struct.pack(order + "HHI" + codes[entry[1]], *entry) for entry in entries)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    start = struct.pack(order + "I", 8 + len(pixels))
    return mark + start + pixels + struct.pack(order + "H", len(entries)) + table + bytes(4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff(tmp_path: Path, orientation: int, kind: int, order: str) -> None:
    require_upright(tmp_path / "a.tif", tiff(order, kind, orientation), orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif(tmp_path: Path, orientation: int) -> None:
    content = saved("AVIF", exif=exif(orientation))
    assert (b"irot" in content or b"imir" in content) == (orientation > 1), "Pillow writes them, and leaves Exif as 1"
    require_upright(tmp_path / "a.avif", content, orientation)


@pytest.mark.parametrize(("box", "value"), [(box, value) for box, values in TURNS.items() for value in values])
@pytest.mark.parametrize("agreeing_exif", [False, True])
def test_a_heic(tmp_path: Path, box: bytes, value: int, agreeing_exif: bool) -> None:
    """A phone writes the orientation twice, as a box and in Exif: it counts once."""
    content = bytearray(saved("HEIF", exif=exif(TURNS[box][value]) if agreeing_exif else None))
    place = content.index(b"pixi")  # the box of the bits a channel, which no reader needs
    content[place : place + 4], content[place + 4] = box, value
    require_upright(tmp_path / "a.heic", bytes(content), TURNS[box][value])


def test_the_exif_of_a_heic_does_not_count(tmp_path: Path) -> None:
    """ISO 23008-12 has the boxes alone turn a picture."""
    require_upright(tmp_path / "a.heic", saved("HEIF", exif=exif(6)), 1)
