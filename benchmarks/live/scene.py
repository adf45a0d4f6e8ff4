"""A drawn scene of several faces as a video file: expressions come and go, and every face moves a little."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.generator import FaceSample, render_clip

WIDTH, HEIGHT, FPS = 640, 480, 30
TILE = 224
"""Side of a drawn face with its surroundings."""
MOTION = 8
"""Pixels that a tile moves to each side."""
FIRST_CLIP = 16
PLACES = {1: [(208, 128)], 2: [(64, 128), (352, 128)], 4: [(64, 8), (352, 8), (64, 248), (352, 248)]}
"""Left and upper edge of each tile, by the number of faces."""
BACKGROUND = 96


def frames(faces: int, seconds: float, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames, uint8 RGB; clips of three seconds are shown forward and backward in turn."""
    clips = [render_clip(seed, FIRST_CLIP + number, size=TILE).frames for number in range(faces)]
    for index in range(round(seconds * FPS)):
        yield _frame(clips, faces, index)


def write_scene(path: Path, faces: int, seconds: float, seed: int = 0) -> Path:
    """Write the scene as H.264, whose every frame has its time stamp."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in frames(faces, seconds, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _frame(clips: list[list[FaceSample]], faces: int, index: int) -> NDArray[np.uint8]:
    picture = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    for number, (clip, (left, top)) in enumerate(zip(clips, PLACES[faces], strict=True)):
        place = index % (2 * len(clip))
        tile = clip[min(place, 2 * len(clip) - 1 - place)].image
        x = left + round(MOTION * math.sin(index / 40 + number))
        y = top + round(MOTION * math.cos(index / 55 + number))
        picture[y : y + TILE, x : x + TILE] = tile
    return picture
