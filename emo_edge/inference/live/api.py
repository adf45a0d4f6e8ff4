"""Live events of an open pipeline and its sources, as ``emo-edge live`` prints them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from emo_edge.bundle.manifest import Manifest
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.live.events import LiveEvent
from emo_edge.inference.live.loop import LiveLoop
from emo_edge.inference.live.reading_thread import ReadingThread
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.live.sources import LiveRun
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.capture import MONOTONIC, LiveCapture


class ReadingPipeline(Protocol):
    """The part of an `EmotionPipeline` that live results need."""

    @property
    def detector(self) -> FaceDetector:
        """Return the face detector."""

    @property
    def manifest(self) -> Manifest:
        """Return the manifest of the bundle, which may hold the filter of the labels."""

    def check(self, request: Request) -> None:
        """Raise InputError for a request that no image could fulfil."""

    def read(
        self, image: Image, request: Request | None = None, *, boxes: Sequence[Box] | None, boxes_of: str | None
    ) -> list[EmotionResult]:
        """Read faces in known boxes."""


Source = str | int | Path
"""Number of a camera, ``/dev/v4l/by-id/...``, an address, a GStreamer pipeline or a video file."""


def live(
    pipeline: ReadingPipeline,
    source: Source | Sequence[Source],
    request: Request | None = None,
    settings: LiveSettings | None = None,
) -> Generator[LiveEvent, None, None]:
    """Follow the faces of cameras, streams or videos and read their labels, with the age of each.

    Args:
        pipeline: an open one. Its face detector is used by this iterator alone meanwhile; other threads that read with
            boxes of their own wait for each other's readings.
        source: the number of a camera, ``/dev/v4l/by-id/...``, an address, a GStreamer pipeline or a video file; or
            several of them, different ones, which share the engines. Ids count each source's own faces.
        request: labels and options; None is ``Request()``.
        settings: ages, reuse, duration, and those of the source; None is ``LiveSettings()``.

    Yields:
        `SourceEvent`, `TrackEvent`, `FrameEvent` and `ExpressionEvent`, as they happen. The source is closed when the
        iterator ends or is closed; one that is asked for the next event late gets a newer frame, and counts those in
        between as dropped.

    Raises InputError at the call for a request or a source that cannot be used. While it runs: DeviceError for a camera
    or stream that is lost, after the event that says so, unless it is to be opened again; InputError after the frames
    of a file that is cut off or damaged. Of several sources the others go on, and the first error comes at the end.
    """
    return live_run(pipeline, source, request, settings).events()


def live_async(
    pipeline: ReadingPipeline,
    source: Source | Sequence[Source],
    request: Request | None = None,
    settings: LiveSettings | None = None,
) -> AsyncGenerator[LiveEvent, None]:
    """Do as `live` for ``async for``, in a thread: the event loop goes on meanwhile.

    Args, events and errors are those of `live`. A task that is cancelled waits for the reading under way and closes the
    source and the threads; after ``break``, ``contextlib.aclosing`` or ``aclose`` does so at once.
    """
    return _in_thread(live_run(pipeline, source, request, settings))


async def _in_thread(run: LiveRun) -> AsyncGenerator[LiveEvent, None]:
    loop, events = asyncio.get_running_loop(), run.events()
    worker = ThreadPoolExecutor(1, "live")
    try:
        while (event := await loop.run_in_executor(worker, next, events, None)) is not None:
            yield event
    finally:
        run.stop()
        closed = loop.run_in_executor(worker, events.close)
        worker.shutdown(wait=False)
        # A second cancellation leaves the thread to end by itself.
        await asyncio.shield(closed)


def live_run(
    pipeline: ReadingPipeline,
    source: Source | Sequence[Source],
    request: Request | None,
    settings: LiveSettings | None,
) -> LiveRun:
    """Return what `live` follows, for whoever must stop it from another thread; nothing is opened yet.

    Args and errors are those of `live`.
    """
    asked, chosen = request or Request(), settings or LiveSettings()
    if asked.on_piece is not None:
        raise InputError("live results give no pieces of answers: leave `on_piece` out")
    sources = [str(one) for one in ([source] if isinstance(source, (str, int, Path)) else source)]
    if not sources or len(set(sources)) < len(sources):
        raise InputError("give one or more sources, each once")
    pipeline.check(asked)
    detecting = threading.Lock()
    captures = [LiveCapture(one, chosen.capture) for one in sources]
    return LiveRun([_loop(pipeline, capture, asked, chosen, detecting) for capture in captures])


def _loop(
    pipeline: ReadingPipeline, capture: LiveCapture, request: Request, settings: LiveSettings, detecting: threading.Lock
) -> LiveLoop:
    name = pipeline.detector.name

    def read(image: Image, boxes: list[Box]) -> list[EmotionResult]:
        return pipeline.read(image, request, boxes=boxes, boxes_of=name)

    tracker = LiveTracker(pipeline.detector, detecting=detecting)
    return LiveLoop(capture, tracker, ReadingThread(read, MONOTONIC), settings, MONOTONIC, pipeline.manifest.live)
