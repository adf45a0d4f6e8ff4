"""Write videos that keep the times of their frames: H.264 with PyAV, else OpenCV at a constant rate."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import InputError
from emo_edge.media.captures import has_pyav, opened_capture
from emo_edge.media.crops import Image
from emo_edge.utils.opencv import open_cv2

logger = logging.getLogger(__name__)
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""OpenCV's codec of each extension that a video is drawn with."""
ENCODERS = {"libx264": {"crf": "20", "preset": "veryfast", "bf": "0"}, "libopenh264": {}, "mpeg4": {"qscale": "4"}}
"""FFmpeg's encoders for MP4, the best first. Frames that others depend on in both directions (``bf``) leave an MP4 of
variable rate with too short a duration."""
TICKS = 60_000
"""A second's: a multiple of the usual rates, also of 30000/1001, and small enough for MPEG-4."""
TimedImage = tuple[Image, float, float]
"""A frame, its seconds since the first one, and the seconds that it is shown, 0 where nobody knows."""


def write_video(
    path: Path, frames: Iterable[TimedImage], step_s: float, target: Path, *, at_once: bool = False
) -> Iterator[int]:
    """Write frames with their times; yield the number of those written so far.

    Args:
        path: .mp4 or .avi.
        frames: uint8 RGB of one size (others are resized to the first one's), with ascending times.
        step_s: nominal seconds between two frames. A constant rate is 1 / ``step_s``.
        target: the file's name in messages.
        at_once: True ends an .mp4 without moving its index to the front, which takes as long as copying it.

    Raises InputError for a file that cannot be written.
    """
    if path.suffix.lower() == ".mp4" and has_pyav():
        options = {} if at_once else {"movflags": "+faststart"}
        return _write_timed(path, _of_one_size(frames), step_s, target, options)
    return _write_constant(path, _of_one_size(frames), step_s, target)


def _of_one_size(frames: Iterable[TimedImage]) -> Iterator[TimedImage]:
    """Resize to the first frame's size, made even as H.264 needs it."""
    size: tuple[int, int] | None = None
    for image, *times in frames:
        height, width = image.shape[:2]
        if size is None:
            size = width + width % 2, height + height % 2
        if (width + width % 2, height + height % 2) != size:
            image = np.asarray(open_cv2().resize(image, size), np.uint8)
        elif (width, height) != size:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        yield image, times[0], times[1]


def _write_timed(
    path: Path, frames: Iterator[TimedImage], step_s: float, target: Path, options: dict[str, str]
) -> Iterator[int]:
    """Write each frame with its own time stamp."""
    import av
    from av.error import FFmpegError

    problem = ""
    try:
        with av.open(f"file:{path}", "w", format="mp4", options=options) as container:
            encoder: _Encoder | None = None
            for count, (image, start, length) in enumerate(_in_ticks(frames, step_s, TICKS), 1):
                encoder = encoder or _Encoder(container, image)
                if length:
                    encoder.add(image, start, length)
                yield count
            if encoder is not None:
                encoder.finish()
    except (FFmpegError, OSError) as error:
        problem = error.strerror or type(error).__name__
    if problem:
        raise InputError(f"{target}: cannot be written ({problem}); make room or choose another place")


def _in_ticks(frames: Iterator[TimedImage], step_s: float, ticks: float) -> Iterator[tuple[Image, int, int]]:
    """Yield image, start and length in ticks of 1 / ``ticks`` seconds; a frame is shown until the next one.

    The last one is shown as long as its source says, else as long as the one before it. A frame's length is 0 where the
    next one starts in the same tick.
    """
    before: tuple[Image, int] | None = None
    gap, last_s = 0, 0.0
    for image, time_s, shown_s in frames:
        start, last_s = round(time_s * ticks), shown_s
        if before is not None:
            start = max(start, before[1])
            gap = start - before[1]
            yield *before, gap
        before = image, start
    if before is not None:
        yield *before, max(round(last_s * ticks) or gap or round(step_s * ticks), 1)


class _Encoder:
    """The best encoder that PyAV's FFmpeg has, in a container."""

    def __init__(self, container: Any, image: Image) -> None:
        name = video_encoder()
        self._container = container
        self._stream = container.add_stream(name, options=ENCODERS[name])
        self._stream.height, self._stream.width = image.shape[:2]
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._lengths: dict[int, int] = {}

    def add(self, image: Image, start: int, length: int) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = start, Fraction(1, TICKS)
        self._lengths[start] = length
        self._mux(frame)

    def finish(self) -> None:
        self._mux(None)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            # Encoders drop the length of a frame; without it the last one of an MP4 lasts no time.
            packet.duration = self._lengths.pop(packet.pts, 1)
            self._container.mux(packet)


@cache
def video_encoder() -> str:
    """Return the first of `ENCODERS` that PyAV's FFmpeg has; log a warning, once, where that is no H.264."""
    available = [name for name in ENCODERS if _opens(name)]
    if not available:
        raise InputError("this FFmpeg can write no MP4: give `draw` a name that ends in .avi")
    if available[0] == "mpeg4":
        logger.warning("this FFmpeg has no H.264 encoder: the video is MPEG-4 Part 2, which browsers do not play")
    return available[0]


def _opens(name: str) -> bool:
    import av

    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True


def _write_constant(path: Path, frames: Iterator[TimedImage], step_s: float, target: Path) -> Iterator[int]:
    """Write at a constant rate: a frame is repeated until the next one is due; of two due at once one stays."""
    cv2, count, slots = open_cv2(), 0, 0
    if path.suffix.lower() == ".mp4":
        _warn_of_mp4v()
    writer: Any = None
    try:
        for image, _, repeats in _in_ticks(frames, step_s, 1 / step_s):
            if writer is None:
                codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
                writer = cv2.VideoWriter(str(path.absolute()), codec, 1 / step_s, image.shape[1::-1])
                if not writer.isOpened():
                    raise InputError(f"{target}: cannot be written; choose another place or extension")
            pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            for _ in range(repeats):
                writer.write(pixels)
            count, slots = count + 1, slots + repeats
            yield count
    finally:
        if writer is not None:
            writer.release()
    kept = _frames_in(path)
    if kept < slots:
        raise InputError(f"{target}: only {kept} of {slots} frames could be written; make room or choose another place")


@cache
def _warn_of_mp4v() -> None:
    logger.warning("without PyAV the video is MPEG-4 Part 2, which browsers do not play, at a constant rate")


def _frames_in(path: Path) -> int:
    """Count the frames in the file: OpenCV reports no error when the disk is full."""
    try:
        with opened_capture(str(path), "video") as reader:
            return reader.frame_count or sum(1 for _ in reader.frames())
    except InputError:
        return 0
