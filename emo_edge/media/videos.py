"""Take frames with their times from video files, cameras and streams, holding no more than the caller keeps."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.errors import DeviceError, InputError
from emo_edge.media.captures import frame_clock, opened_capture, promised_frames
from emo_edge.media.crops import Image
from emo_edge.media.sources import SourceKind, classify_source, without_password
from emo_edge.utils.opencv import open_cv2
from emo_edge.utils.progress import Progress

__all__ = ["TimedFrame", "classify_source", "clip_frames", "even_indices", "sampled_frames"]

logger = logging.getLogger(__name__)

REPORTED_EVERY = 64
"""Frames between two reports of progress."""
WHOLE = 0.9
"""A file that ends before this fraction of its promised frames is cut off; less is a container's rounding."""


@dataclass(frozen=True)
class TimedFrame:
    """A frame and its time."""

    image: Image
    """uint8 RGB [H, W, 3]."""
    index: int
    """0 for the first frame of the source."""
    time_s: float
    """Seconds since the first frame."""


def even_indices(length: int, count: int) -> list[int]:
    """Return the middle frames of ``count`` equal parts of ``length`` frames; short clips repeat some."""
    return [int((part + 0.5) * length / count) for part in range(count)]


def clip_frames(path: str | Path, *, count: int = 8, progress: Progress = lambda done, total: None) -> list[TimedFrame]:
    """Return the middle frames of ``count`` equal parts of a video file; fewer frames than that repeat.

    The file is read once to its end, and once more where its container promised another number of frames than it
    holds. Of a file that is cut off the frames that are there count, and a warning is logged. ``progress`` gets the
    frames read and promised, now and then. Raises InputError when it is no video or holds no frame.
    """
    if count < 1:
        raise InputError(f"count is at least 1, not {count}")
    if classify_source(str(path)) != "video":
        raise InputError(f"{path}: not a video file")
    with opened_capture(str(path), "video") as capture:
        promised = promised_frames(capture)
        indices = even_indices(promised, count) if promised else []
        kept, length = _chosen_frames(capture, indices, lambda done: progress(done, promised))
    if not length:
        raise InputError(f"{path}: holds no readable frame: copy it again, or convert it to MP4")
    if length < WHOLE * promised:
        logger.warning("%s: cut off, %d of %d frames are there", path, length, promised)
    indices = even_indices(length, count)
    if not kept.keys() >= set(indices):
        with opened_capture(str(path), "video") as capture:
            kept, _ = _chosen_frames(capture, indices, lambda done: progress(done, length))
    return [kept[index] for index in indices]


def sampled_frames(source: str | int | Path, *, fps: float | None = None) -> Iterator[TimedFrame]:
    """Stream frames of a video file, a camera (0, "0") or a URL or GStreamer pipeline.

    Args:
        source: see `emo_edge.media.sources.classify_source`.
        fps: frames a second of the source's time: the first frame of each 1/fps; None takes every frame.

    Yields:
        frames in order; the capture is released when the iterator ends or is closed.

    Raises InputError for a bad ``fps`` or source at the call; while reading, InputError for a file without frames and,
    after the frames that are there, for one that is cut off; DeviceError for a camera or stream that does not open,
    gives nothing, or (a camera) stops.
    """
    text = str(source)
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps is a positive number of frames a second, not {fps}")
    kind = classify_source(text)
    if kind in ("image", "folder"):
        raise InputError(f"{text}: is {'an image' if kind == 'image' else 'a folder'}, not a video, camera or stream")
    return _sampled(text, kind, fps)


def _sampled(source: str, kind: SourceKind, fps: float | None) -> Iterator[TimedFrame]:
    with opened_capture(source, kind) as capture:
        promised, seconds = promised_frames(capture), frame_clock(capture, kind)
        index, slot = 0, -1
        while capture.grab():
            time_s = seconds(index)
            # The small addition keeps a stamp of 0.3999999 in the slot that begins at 0.4.
            now = index if fps is None else int(time_s * fps + 1e-4)
            if now > slot:
                slot = now
                yield TimedFrame(_pixels(capture, source), index, time_s)
            index += 1
    _check_end(source, kind, index, promised)


def _check_end(source: str, kind: SourceKind, length: int, promised: int) -> None:
    """Raise where a source ended too early to be silent about it."""
    if kind == "camera":
        raise DeviceError(f"camera {source} stopped after {length} frames: is it still plugged in?")
    if kind == "stream":
        if not length:
            raise DeviceError(f"{without_password(source)}: the stream opened but gave no frame")
        logger.warning("%s: the stream ended after %d frames", without_password(source), length)
    elif not length:
        raise InputError(f"{source}: holds no readable frame: copy it again, or convert it to MP4")
    elif length < WHOLE * promised:
        raise InputError(f"{source}: cut off, {length} of {promised} frames are there: copy it again")


def _chosen_frames(
    capture: Any, indices: Collection[int], progress: Callable[[int], None]
) -> tuple[dict[int, TimedFrame], int]:
    """Read to the end, keeping the frames at ``indices``; return them and the number of all frames."""
    kept: dict[int, TimedFrame] = {}
    index, seconds = 0, frame_clock(capture, "video")
    while capture.grab():
        time_s = seconds(index)
        if index in indices:
            kept[index] = TimedFrame(_pixels(capture, "the video"), index, time_s)
        index += 1
        if index % REPORTED_EVERY == 0:
            progress(index)
    return kept, index


def _pixels(capture: Any, source: str) -> Image:
    cv2 = open_cv2()
    done, pixels = capture.retrieve()
    if not done or pixels is None:
        raise InputError(f"{without_password(source)}: a frame cannot be decoded: convert the video to MP4")
    colours = cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, colours), np.uint8)
