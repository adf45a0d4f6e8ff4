"""Pictures of every format that is read, one kind a format."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image as Pillow

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.hostile.mutate import mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.media.headers.orientation import ORIENTATION_TAG
from emo_edge.media.images import read_image

SIDE = 64
TURNED = 6
"""An orientation that exchanges rows and columns."""
CHECKED = 0.7
"""Fraction of the mutated PNGs whose checksums are made right again: others are refused at the first of them."""
PNG_HEAD = 8
Save = tuple[str, dict[str, Any]]
"""Mode of Pillow and the settings of its writer."""
FORMATS: dict[str, tuple[Save, ...]] = {
    "JPEG": (
        ("RGB", {"quality": 80}),
        ("RGB", {"progressive": True}),
        ("L", {"quality": 60}),
        ("CMYK", {"quality": 60}),
    ),
    "PNG": (("RGB", {}), ("RGBA", {}), ("P", {"transparency": 3}), ("L", {"transparency": 7}), ("I;16", {})),
    "WEBP": (("RGB", {"quality": 70}), ("RGBA", {"lossless": True})),
    "TIFF": (
        *(("RGB", {"compression": name}) for name in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        ("I;16", {}),
        ("CMYK", {}),
        ("1", {"compression": "group4"}),
    ),
    "GIF": (("P", {}), ("P", {"transparency": 3}), ("P", {"interlace": 0})),
    "BMP": (("RGB", {}), ("P", {}), ("1", {}), ("RGBA", {})),
    "HEIF": (("RGB", {"quality": 70}), ("RGBA", {"quality": 70})),
    "AVIF": (("RGB", {"quality": 70}), ("RGBA", {"quality": 70})),
}
"""Each format's writings, by Pillow's name of it."""
WITHOUT_EXIF = ("GIF", "BMP")


def _whole(name: str) -> Sequence[bytes]:
    """Write a packaged drawing in each way; the first of them once more with an orientation in its Exif."""
    if name == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    drawing = Pillow.fromarray(packaged_samples(1)[0].image).resize((SIDE, SIDE * 3 // 4))
    written = [_saved(drawing, name, mode, settings) for mode, settings in FORMATS[name]]
    if name not in WITHOUT_EXIF:
        exif = Pillow.Exif()
        exif[ORIENTATION_TAG] = TURNED
        mode, settings = FORMATS[name][0]
        written.append(_saved(drawing, name, mode, {**settings, "exif": exif}))
    return written


def _saved(drawing: Any, name: str, mode: str, settings: dict[str, Any]) -> bytes:
    grey16 = np.asarray(drawing.convert("L"), np.uint16) * np.uint16(257)
    image = Pillow.fromarray(grey16) if mode == "I;16" else drawing.convert(mode)
    stream = io.BytesIO()
    image.save(stream, name, **settings)
    return stream.getvalue()


def _mutated_png(rng: Random, content: bytes) -> bytes:
    changed = mutated_bytes(rng, content)
    return _with_checksums(changed) if rng.random() < CHECKED else changed


def _with_checksums(content: bytes) -> bytes:
    """Return a PNG whose chunks, as far as they can be told, have their checksums."""
    changed, position = bytearray(content), PNG_HEAD
    while position + 12 <= len(changed):
        end = position + 8 + struct.unpack_from(">I", changed, position)[0]
        if end + 4 > len(changed):
            break
        struct.pack_into(">I", changed, end, zlib.crc32(changed[position + 4 : end]))
        position = end + 4
    return bytes(changed)


def _read(path: Path) -> None:
    image = read_image(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise AssertionError(f"{image.dtype} {image.shape}")


def _kind(name: str, mutated: Callable[[Random, bytes], bytes] = mutated_bytes) -> Kind:
    return Kind("picture.bin", partial(_whole, name), mutated, _read)


JPEG, WEBP, TIFF, GIF = _kind("JPEG"), _kind("WEBP"), _kind("TIFF"), _kind("GIF")
BMP, HEIC, AVIF = _kind("BMP"), _kind("HEIF"), _kind("AVIF")
PNG = _kind("PNG", _mutated_png)
