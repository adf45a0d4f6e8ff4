"""Pillow's images become frames in bands of rows: every mode as its whole conversion, and a HEIC without Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.media.images import image_from_bytes
from emo_edge.media.photos import frame_from_pillow
from emo_edge.media.transparency import over_white

pillow = pytest.importorskip("PIL.Image")
BANDS = "emo_edge.media.transparency.BAND"
"""Pixels of a band."""


def picture(mode: str) -> Any:
    colours = np.random.default_rng(5).integers(0, 256, (31, 17, 4), np.uint8)
    image = pillow.fromarray(colours, "RGBA")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "RGBa"])
def test_bands_give_what_the_whole_picture_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BANDS, 17 * 4)  # eight bands, the last one of three rows
    image = picture(mode)
    alpha = mode in ("RGBA", "LA", "RGBa")
    whole = np.asarray(image.convert("RGBA" if alpha else "RGB"), np.uint8)
    assert np.array_equal(frame_from_pillow(image), over_white(whole) if alpha else whole)


def test_the_transparent_colour_of_a_palette_is_white_in_every_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BANDS, 17 * 4)
    image = picture("P")
    image.info["transparency"] = clear = image.getpixel((3, 30))
    frame = frame_from_pillow(image)
    assert (frame[np.asarray(image) == clear] == 255).all()
    assert (frame[np.asarray(image) != clear] != 255).any()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_heic_is_what_pillow_makes_of_it(mode: str) -> None:
    heif = pytest.importorskip("pillow_heif")
    image, file = picture(mode).resize((65, 41)), io.BytesIO()
    if mode == "RGBA":
        image.putalpha(120)
    heif.from_pillow(image).save(file, quality=90)
    opened = heif.open_heif(file.getvalue(), convert_hdr_to_8bit=True).to_pillow()
    frame = image_from_bytes(file.getvalue(), "a.heic")
    assert frame.flags.writeable and frame.flags.c_contiguous and frame.shape == (41, 65, 3)
    assert np.array_equal(frame, frame_from_pillow(opened))


@pytest.mark.parametrize(("values", "reason"), [(0.5, "mode F has no defined range"), (70_000, "70000, not 16 bits")])
def test_an_intact_tiff_without_a_range_is_not_called_damaged(values: float, reason: str) -> None:
    file = io.BytesIO()
    pixels = np.full((8, 8), values, np.float32 if isinstance(values, float) else np.int32)
    pillow.fromarray(pixels).save(file, "TIFF")
    with pytest.raises(InputError, match=f"this TIFF cannot be read: .*{reason}: convert it to 8 bits"):
        image_from_bytes(file.getvalue(), "a.tif")
