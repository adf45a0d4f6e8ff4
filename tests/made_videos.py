"""Small videos with chosen time stamps, codecs and containers, made with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIDE = 64
MARK = 16
TICKS = 1000
CODEC = {".webm": "libvpx-vp9", ".mkv": "libx264", ".ts": "libx264", ".mp4": "libx264", ".flv": "flv"}
VARIABLE = [index / 30 for index in range(30)] + [1.0 + index for index in range(5)]
"""A second at 30 frames a second, then a frame a second."""


def marked(index: int, alpha: int | None = None) -> NDArray[np.uint8]:
    """Return a picture whose brightness tells its index, RGB or RGBA."""
    image = np.full((SIDE, SIDE, 3 if alpha is None else 4), 20 + 3 * index, np.uint8)
    if alpha is not None:
        image[..., 3] = alpha
    return image


def index_of(image: NDArray[np.uint8]) -> int:
    """Return the index that `marked` was given."""
    return round((float(image.mean()) - 20) / 3)


def write(
    path: Path, times: Sequence[float], *, codec: str = "", alpha: int | None = None, pixel_format: str = ""
) -> Path:
    """Write a marked frame at each of ``times``."""
    with av.open(str(path), "w") as container:
        name = codec or CODEC[path.suffix]
        # VP8 has no transparency in frames that are never shown.
        options = {"auto-alt-ref": "0"} if name.startswith("libvpx") else {}
        stream = container.add_stream(name, rate=30, options=options)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pixel_format or ("yuv420p" if alpha is None else "yuva420p")
        stream.codec_context.time_base = Fraction(1, TICKS)
        for index, time_s in enumerate(times):
            pixels = marked(index, alpha)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if alpha is None else "rgba")
            frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
