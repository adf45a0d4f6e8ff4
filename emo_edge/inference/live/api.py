"""Live events of an open pipeline and a source, as ``emo-edge live`` prints them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.live.events import LiveEvent
from emo_edge.inference.live.loop import LiveLoop
from emo_edge.inference.live.reading_thread import ReadingThread
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.capture import MONOTONIC, LiveCapture


def live(
    pipeline: EmotionPipeline,
    source: str | int | Path,
    request: Request | None = None,
    settings: LiveSettings | None = None,
) -> Generator[LiveEvent, None, None]:
    """Follow the faces of a camera, a stream or a video and read their labels, with the age of each.

    Args:
        pipeline: an open one. Its face detector is used by this iterator alone meanwhile; other threads that read with
            boxes of their own wait for each other's readings.
        source: the number of a camera, ``/dev/v4l/by-id/...``, an address, a GStreamer pipeline or a video file.
        request: labels and options; None is ``Request()``.
        settings: ages, reuse, duration, and those of the source; None is ``LiveSettings()``.

    Yields:
        `SourceEvent`, `TrackEvent` and `FrameEvent`, as they happen. The source is closed when the iterator ends or is
        closed; one that is asked for the next event late gets a newer frame, and counts those in between as dropped.

    Raises InputError at the call for a request or a source that cannot be used. While it runs: DeviceError for a camera
    or stream that is lost, after the event that says so, unless it is to be opened again; InputError after the frames
    of a file that is cut off or damaged.
    """
    asked, chosen = request or Request(), settings or LiveSettings()
    if asked.on_piece is not None:
        raise InputError("live results give no pieces of answers: leave `on_piece` out")
    pipeline.check(asked)
    capture = LiveCapture(str(source), chosen.capture)
    name = pipeline.detector.name

    def read(image: Image, boxes: list[Box]) -> list[EmotionResult]:
        return pipeline.read(image, asked, boxes=boxes, boxes_of=name)

    def events() -> Generator[LiveEvent, None, None]:
        # The thread begins with the first event, so that an iterator that nobody uses leaves nothing running.
        reader = ReadingThread(read, MONOTONIC)
        yield from LiveLoop(capture, LiveTracker(pipeline.detector), reader, chosen, MONOTONIC).events()

    return events()
