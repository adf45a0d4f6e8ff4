"""Frames of a video from some frame on: those before are read for their times alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from emo_edge.media.captures import opened_capture
from emo_edge.media.readers.time_line import on_time_line
from emo_edge.media.sources import SourceKind
from emo_edge.media.videos import TimedFrame, check_end, frame_image


@dataclass(frozen=True)
class VideoFrames:
    """A video under way."""

    total: int
    """Frames in all, as far as the container says; 0 where it does not."""
    frames: Iterator[TimedFrame]
    """In order. After those that are there, InputError for a file that is cut off or damaged, DeviceError for a
    stream that breaks off."""


@contextmanager
def open_frames(source: str, kind: SourceKind, start: int) -> Iterator[VideoFrames]:
    """Open a video for its frames from number ``start`` on, and close it in the end."""
    with opened_capture(source, kind) as reader:
        total = reader.frame_count or (round(reader.duration_s / reader.step_s) if reader.duration_s > 0 else 0)

        def frames() -> Iterator[TimedFrame]:
            index = 0
            for frame, position in on_time_line(reader.frames(), reader.step_s):
                if index >= start:
                    image = frame_image(frame, source)
                    yield TimedFrame(image, index, position.seconds, position.segment, position.elapsed_s)
                index += 1
            check_end(source, kind, index, reader)

        yield VideoFrames(total, frames())
