"""The largest picture of each format that is read: the time of the processor and the memory that its reader takes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emo_edge.console.children import module_command
from emo_edge.errors import EmoEdgeError
from emo_edge.media.headers.image_headers import MAX_PIXELS
from emo_edge.media.images import read_image

GRAIN = 13
"""Levels of the noise of each pixel, about that of a camera."""
BLOCK = 4
"""Side of the squares of one colour where the file would be larger than the largest that is read."""


class Reading(NamedTuple):
    """A picture's reading in a process of its own."""

    name: str
    pixels: int
    file_bytes: int
    cpu_s: float
    added_bytes: int
    """Most that the resident memory grew by."""
    error: str
    """Empty where it was read."""


FORMATS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "jpeg": (".jpg", 1, {"quality": 85}),
    "jpeg, progressive": (".jpg", 1, {"quality": 92, "subsampling": 0, "progressive": True}),
    "png": (".png", 1, {"compress_level": 3}),
    "png, RGBA": (".png", 0.75, {"compress_level": 3}),
    "webp": (".webp", 1, {"quality": 80, "method": 0}),
    "webp, lossless": (".webp", 1, {"lossless": True, "quality": 0, "method": 0}),
    "bmp": (".bmp", 1 / 3, {}),
    "gif": (".gif", 1, {}),
    "tiff, deflate": (".tif", 1, {"compression": "tiff_adobe_deflate"}),
    "tiff, jpeg": (".tif", 1, {"compression": "jpeg"}),
    "avif": (".avif", 1, {"quality": 60, "speed": 10}),
    "heic": (".heic", 1, {"quality": 50}),
}
"""Extension, fraction of the pixels that are allowed, and Pillow's settings: a BMP has three bytes a pixel, of which
`emo_edge.media.images.MAX_BYTES` are read, and transparent pixels count for more."""
BLOCKY = ("png", "png, RGBA", "webp, lossless", "gif", "tiff, deflate")


def largest_readings(names: Sequence[str], pixels: int, report: Callable[[str], None]) -> Iterator[Reading]:
    """Write a picture of each format, with ``pixels`` pixels where its file may be so large, and read it."""
    with tempfile.TemporaryDirectory(prefix="emo-edge-largest-") as folder:
        for name in names:
            suffix, fraction, settings = FORMATS[name]
            side = math.isqrt(int(pixels * fraction)) // BLOCK * BLOCK
            path = Path(folder) / f"largest{suffix}"
            report(f"writing a {name} of {side}x{side} pixels")
            _write(path, side, name, settings)
            yield _reading(name, path, side * side)
            path.unlink()


def _write(path: Path, side: int, name: str, settings: dict[str, Any]) -> None:
    from PIL import Image

    if path.suffix == ".heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    image = Image.fromarray(_pixels(side, BLOCK if name in BLOCKY else 1))
    if name == "png, RGBA":
        image.putalpha(128)
    image.save(path, **settings)


def _pixels(side: int, block: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a smooth picture with grain, one value for each square of ``block`` pixels."""
    import cv2

    draw, small = np.random.default_rng(0), side // block
    coarse = draw.integers(0, 256, (max(small // 16, 1), max(small // 16, 1), 3), np.uint8)
    smooth = cv2.resize(coarse, (small, small), interpolation=cv2.INTER_CUBIC)
    grain = draw.integers(0, GRAIN, (small, small, 1), np.uint8)
    return np.repeat(np.repeat(cv2.add(smooth, np.repeat(grain, 3, 2)), block, 0), block, 1)


def _reading(name: str, path: Path, pixels: int) -> Reading:
    command = module_command("emo_edge.benchmarks.endurance.largest_pictures", str(path))
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return Reading(name, pixels, path.stat().st_size, 0.0, 0, f"ended with code {done.returncode}")
    values = json.loads(done.stdout)
    return Reading(name, pixels, path.stat().st_size, values["cpu_s"], values["added_bytes"], values["error"])


def main(path: str) -> None:
    """Read a picture, and print what that took as JSON."""
    warm = np.zeros((8, 8, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:  # the libraries load before
        from PIL import Image

        small = Path(folder, f"small{Path(path).suffix}")
        if small.suffix == ".heic":
            import pillow_heif

            pillow_heif.register_heif_opener()
        Image.fromarray(warm).save(small)
        read_image(small)
    before, started, error = _memory_bytes("VmRSS"), time.process_time(), ""
    try:
        read_image(path)
    except EmoEdgeError as refused:
        error = str(refused).removeprefix(f"{path}: ")
    cpu_s, added = time.process_time() - started, max(_memory_bytes("VmHWM") - before, 0)
    print(json.dumps({"cpu_s": cpu_s, "added_bytes": added, "error": error}, allow_nan=False))


def _memory_bytes(name: str) -> int:
    """Return a size of this process; getrusage would give the parent's, which forked."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) << 10


__all__ = ["FORMATS", "MAX_PIXELS", "Reading", "largest_readings"]

if __name__ == "__main__":
    main(sys.argv[1])
