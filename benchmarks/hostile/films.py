"""Videos of every container, read to their end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from emo_edge.benchmarks.hostile.mutate import mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.media.videos import clip_frames, sampled_frames

SIDE, FRAMES = 64, 8
CONTAINERS = {
    "mp4": ("libx264", "yuv420p"),
    "mkv": ("libx264", "yuv420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "ts": ("mpeg2video", "yuv420p"),
    "flv": ("flv", "yuv420p"),
    "mpg": ("mpeg1video", "yuv420p"),
    "mov": ("mjpeg", "yuvj420p"),
    "wmv": ("wmv2", "yuv420p"),
    "gif": ("gif", "rgb8"),
    "apng": ("apng", "rgba"),
}
"""Codec and pixels of each container."""


def _whole() -> Sequence[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [_written(Path(folder) / f"film.{name}", *kind) for name, kind in CONTAINERS.items()]


def _written(path: Path, codec: str, pixels: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25))
        stream.width = stream.height = SIDE
        stream.pix_fmt = pixels
        for index in range(FRAMES):
            grey = np.full((SIDE, SIDE, 3), 20 * index, np.uint8)
            grey[index * 4 : index * 4 + 8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _read(path: Path) -> None:
    clip = clip_frames(path, count=2)
    if len(clip) != 2:
        raise AssertionError(f"{len(clip)} frames of 2")
    for frame in sampled_frames(path, fps=5):
        if frame.time_s < 0 or frame.image.dtype != np.uint8:
            raise AssertionError(f"{frame.time_s} s, {frame.image.dtype}")


NAME = "film.ts"
"""MPEG-TS has no signature: its extension decides. Content decides for the others."""
VIDEO = Kind(NAME, _whole, mutated_bytes, _read)
