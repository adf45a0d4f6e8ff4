"""Take frames with their times from video files, cameras and streams, holding no more than the caller keeps."""

from __future__ import annotations

import logging
import math
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.console.progress import Progress
from emo_edge.errors import DeviceError, InputError
from emo_edge.media.captures import opened_capture
from emo_edge.media.crops import Image
from emo_edge.media.readers.cut_off import holds_another, is_cut_off
from emo_edge.media.readers.frames import FrameReader, RawFrame
from emo_edge.media.readers.time_line import Position, on_time_line
from emo_edge.media.sources import SourceKind, classify_source, without_password
from emo_edge.media.transparency import over_white

__all__ = ["TimedFrame", "classify_source", "clip_frames", "even_indices", "sampled_frames"]

logger = logging.getLogger(__name__)

REPORTED_EVERY = 64
"""Frames between two reports of progress."""
MOST_DAMAGED = 0.1
"""Fraction of a file's packets that may be damaged before that is an error."""
ROUNDING_S = 1e-3
"""Containers round time stamps to a millisecond."""


@dataclass(frozen=True)
class TimedFrame:
    """A frame and its time."""

    image: Image
    """uint8 RGB [H, W, 3]."""
    index: int
    """0 for the first frame of the source."""
    time_s: float
    """Seconds since the first frame of the segment."""
    segment: int = 0
    """Counts the jumps of the time stamps before this frame."""
    elapsed_s: float = 0.0
    """Seconds since the first frame of the source: its segments one after the other."""
    duration_s: float = 0.0
    """Seconds that it is shown; 0 where the source does not say."""


def even_indices(length: int, count: int) -> list[int]:
    """Return the middle frames of ``count`` equal parts of ``length`` frames; short clips repeat some."""
    return [int((part + 0.5) * length / count) for part in range(count)]


def clip_frames(path: str | Path, *, count: int = 8, progress: Progress = lambda done, total: None) -> list[TimedFrame]:
    """Return the frames shown at the middles of ``count`` equal parts of a video file's duration.

    A file of fewer frames, and one that shows a frame for long, repeats some. It is read once to its end, and once
    more where its container gave another duration than it has; ``count`` frames and 8 bytes of each frame's time are
    kept. Of a file that is cut off or damaged the frames that are there count, and a warning is logged. ``progress``
    gets the frames read and expected, now and then. Raises InputError when it is no video or holds no frame.
    """
    read = _read_file(path, count, progress)
    (clip,) = _clips(read, [read.shown_at(_middles(0.0, read.duration_s, count))])
    return clip


def segment_frames(
    path: str | Path, *, count: int = 8, progress: Progress = lambda done, total: None
) -> Iterator[list[TimedFrame]]:
    """Yield the frames of each segment of a video file, chosen within it as `clip_frames` chooses them."""
    read = _read_file(path, count, progress)
    ends = [*(read.elapsed[start] for start in read.starts[1:]), read.duration_s]
    parts = [
        _middles(read.elapsed[start], end - read.elapsed[start], count)
        for start, end in zip(read.starts, ends, strict=True)
    ]
    yield from _clips(read, [read.shown_at(times) for times in parts])


def _read_file(path: str | Path, count: int, progress: Progress) -> _FileReading:
    if count < 1:
        raise InputError(f"count is at least 1, not {count}")
    if classify_source(str(path)) != "video":
        raise InputError(f"{path}: not a video file")
    name = str(path)
    with opened_capture(name, "video") as reader:
        expected = reader.frame_count or round(reader.duration_s / reader.step_s)
        read = _FileReading(reader, name, lambda done: progress(done, expected))
        read.to_end(_middles(0.0, reader.duration_s, count))
        problem = _problem(name, reader, len(read.elapsed))
    if problem:
        logger.warning("%s: %s", name, problem)
    return read


def _clips(read: _FileReading, clips: list[list[int]]) -> Iterator[list[TimedFrame]]:
    """Yield the frames of each clip, whose indices ascend; the file is read once more where one was not kept."""
    if read.kept.keys() >= {index for clip in clips for index in clip}:
        yield from ([read.kept[index] for index in clip] for clip in clips)
        return
    with opened_capture(read.name, "video") as reader:
        yield from read.again(reader, clips)


def sampled_frames(source: str | int | Path, *, fps: float | None = None) -> Iterator[TimedFrame]:
    """Stream frames of a video file, a camera (0, "0") or a URL or GStreamer pipeline.

    Args:
        source: see `emo_edge.media.sources.classify_source`.
        fps: frames a second of the source's time: the first frame of each 1/fps; None takes every frame. After a jump
            of the time stamps, a new segment, it begins anew.

    Yields:
        frames in order; the source is closed when the iterator ends or is closed.

    Raises InputError for a bad ``fps`` or source at the call; while reading, InputError for a file without frames and,
    after the frames that are there, for one that is cut off or damaged; DeviceError for a camera or stream that does
    not open, gives nothing, stalls, breaks off, or (a camera) stops.
    """
    text = str(source)
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps is a positive number of frames a second, not {fps}")
    kind = classify_source(text)
    if kind in ("image", "folder"):
        raise InputError(f"{text}: is {'an image' if kind == 'image' else 'a folder'}, not a video, camera or stream")
    return _sampled(text, kind, fps)


def _sampled(source: str, kind: SourceKind, fps: float | None) -> Iterator[TimedFrame]:
    with opened_capture(source, kind) as reader:
        index, slot, segment = 0, -1, 0
        for frame, position in on_time_line(reader.frames(), reader.step_s):
            if position.segment != segment:
                slot, segment = -1, position.segment
            # The small addition keeps a stamp of 0.3999999 in the slot that begins at 0.4.
            now = index if fps is None else int(position.seconds * fps + 1e-4)
            if fps is None or now > slot:
                slot = now
                yield _timed(frame, index, position, source)
            index += 1
        check_end(source, kind, index, reader)


def check_end(source: str, kind: SourceKind, length: int, reader: FrameReader) -> None:
    """Raise where a source ended too early to be silent about it."""
    shown = without_password(source)
    if kind == "camera":
        raise DeviceError(f"camera {source} stopped after {length} frames: is it still plugged in?")
    if kind == "stream":
        if not length:
            raise DeviceError(f"{shown}: the stream opened but gave no frame")
        logger.warning("%s: the stream ended after %d frames", shown, length)
    elif problem := _problem(source, reader, length):
        raise InputError(f"{source}: {problem}: copy it again")


def _problem(path: str, reader: FrameReader, length: int) -> str | None:
    """Name the problem of a file that was read to its end; raise InputError where it gave no frame.

    A second video behind it, which FFmpeg does not read, is a warning.
    """
    if not length:
        raise InputError(f"{path}: holds no readable frame: copy it again, or convert it to MP4")
    if is_cut_off(path):
        if reader.frame_count > length:
            return f"cut off, {length} of {reader.frame_count} frames are there"
        return f"cut off after {length} frames"
    if reader.damaged > MOST_DAMAGED * (length + reader.damaged):
        return f"damaged, {reader.damaged} frames cannot be decoded and {length} can"
    if holds_another(path):
        logger.warning("%s: several videos, one after the other: the first one is read", path)
    return None


def _middles(start_s: float, duration_s: float, count: int) -> list[float]:
    return [start_s + (part + 0.5) * duration_s / count for part in range(count)] if duration_s > 0 else []


class _FileReading:
    """A file as it is read to its end: the times of all its frames, and the frames shown at some times."""

    def __init__(self, reader: FrameReader, name: str, progress: Callable[[int], None]) -> None:
        self.kept: dict[int, TimedFrame] = {}
        self.elapsed = array("d")
        self.starts: list[int] = []
        """Index of the first frame of each segment."""
        self.duration_s = 0.0
        self.name = name
        self._reader, self._progress = reader, progress

    def to_end(self, times: Sequence[float]) -> None:
        """Read every frame, keeping those shown at ``times``, which ascend."""
        waiting, before, last_s = list(times), None, 0.0
        for index, (frame, position) in enumerate(on_time_line(self._reader.frames(), self._reader.step_s)):
            if before is not None and self._is_past(position.elapsed_s, waiting):
                self.kept[index - 1] = _timed(*before, self.name)
                while self._is_past(position.elapsed_s, waiting):
                    waiting.pop(0)
            frame.keep()
            before = frame, index, position
            if position.segment == len(self.starts):
                self.starts.append(index)
            self.elapsed.append(position.elapsed_s)
            last_s = frame.duration or self._last_gap() or self._reader.step_s
            if index % REPORTED_EVERY == REPORTED_EVERY - 1:
                self._progress(index + 1)
        if before is not None:
            self.kept[before[1]] = _timed(*before, self.name)
            self.duration_s = self.elapsed[-1] + last_s

    def _last_gap(self) -> float:
        return self.elapsed[-1] - self.elapsed[-2] if len(self.elapsed) > 1 else 0.0

    def again(self, reader: FrameReader, clips: Sequence[Sequence[int]]) -> Iterator[list[TimedFrame]]:
        """Read the file a second time and yield each clip at its last frame, holding the frames of one alone."""
        waiting, frames = deque(clips), dict[int, TimedFrame]()
        for index, (frame, position) in enumerate(on_time_line(reader.frames(), reader.step_s)):
            if waiting and index in waiting[0]:
                kept = self.kept.pop(index, None)
                frames[index] = kept or _timed(frame, index, position, self.name)
            if waiting and index == waiting[0][-1]:
                yield [frames[place] for place in waiting.popleft()]
                frames = {}
            if index % REPORTED_EVERY == REPORTED_EVERY - 1:
                self._progress(index + 1)
        if waiting:
            raise InputError(f"{self.name}: changed while it was read; read it again when it is complete")

    def shown_at(self, times: Sequence[float]) -> list[int]:
        """Return the indices of the frames shown at ``times``."""
        return [max(bisect_right(self.elapsed, time_s + self._rounding) - 1, 0) for time_s in times]

    def _is_past(self, elapsed_s: float, waiting: Sequence[float]) -> bool:
        return bool(waiting) and elapsed_s > waiting[0] + self._rounding

    @property
    def _rounding(self) -> float:
        return min(ROUNDING_S, self._reader.step_s / 20)


def frame_image(frame: RawFrame, source: str) -> Image:
    """Return a frame's pixels, uint8 RGB [H, W, 3], transparent ones over white; InputError names ``source``."""
    try:
        pixels = frame.pixels()
    except InputError as error:
        raise InputError(f"{without_password(source)}: {error}") from error
    return np.asarray(over_white(pixels) if pixels.shape[2] == 4 else pixels, np.uint8)


def _timed(frame: RawFrame, index: int, position: Position, source: str) -> TimedFrame:
    image = frame_image(frame, source)
    return TimedFrame(image, index, position.seconds, position.segment, position.elapsed_s, frame.duration)
