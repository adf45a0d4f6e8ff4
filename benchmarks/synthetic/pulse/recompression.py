"""Recompression of a clip as web cameras, messengers and archives do it: H.264, chroma at half the size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Frames = Sequence[NDArray[np.uint8]]


def recompressed(frames: Frames, crf: int, fps: float = 30.0) -> list[NDArray[np.uint8]]:
    """Return frames (uint8 RGB [H, W, 3], even sides) as x264 leaves them at a constant rate factor.

    One thread, so that the same frames give the same bytes.
    """
    return decoded(encoded(frames, crf, fps))


def encoded(frames: Frames, crf: int, fps: float = 30.0) -> bytes:
    """Return the frames as an MP4 file in H.264."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": str(crf), "threads": "1"}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def decoded(file: bytes) -> list[NDArray[np.uint8]]:
    """Return the frames of a video file."""
    import av

    with av.open(io.BytesIO(file), "r") as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]
