"""The parts that every route uses: the pipeline, the engine, the limits; the way from a job to its readings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request as HttpRequest

from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.serving.engine.jobs import Job, QueueFullError, Readings
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.engine.metrics import ServerMetrics
from emo_edge.serving.engine.thread import EngineThread
from emo_edge.serving.routes.pictures import PixelBudget
from emo_edge.serving.routes.remote_pictures import RemotePictures

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """The client has closed its connection: nobody waits for the answer."""


@dataclass
class Service:
    """One server's parts. Routes run in the event loop; the engine has a thread of its own."""

    pipeline: EmotionPipeline
    engine: EngineThread
    limits: ServerLimits
    metrics: ServerMetrics
    request: Request
    """Labels and options of a client that asks for none."""
    open_detector: Callable[[], FaceDetector]
    """A face detector for a WebSocket: one is used by one thread at a time."""
    budget: PixelBudget
    remote: RemotePictures
    """Fetches pictures from hosts that are allowed; from none by default."""
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    """Media type and bytes of packaged drawings to try."""
    is_draining: bool = False
    is_ready: bool = False
    """True once the engines have read a picture."""
    live_connections: int = 0
    viewers: int = 0
    under_way: int = 0
    """Requests from the end of their body to their answer."""

    @property
    def name(self) -> str:
        """Return the bundle's name."""
        return self.pipeline.manifest.name

    @property
    def is_full(self) -> bool:
        """Return True if one more request could not wait."""
        return self.under_way >= self.limits.waiting

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request inside the block; raise QueueFullError, before a picture is decoded, for one too many."""
        if self.is_full:
            raise QueueFullError(f"{self.limits.waiting} readings wait already: try again in a moment")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def readings(self, job: Job) -> Readings:
        """Return what a job gives; one that nobody waits for any more leaves the queue."""
        job.deadline_s = time.monotonic() + self.limits.deadline_s
        self.engine.submit(job)
        return await asyncio.wrap_future(job.future)


def client_of(request: HttpRequest) -> str:
    """Return whose turn a request takes: that of its address."""
    return request.client.host if request.client else "local"


async def while_connected(request: HttpRequest, work: Awaitable[Result]) -> Result:
    """Return what ``work`` gives, and cancel it when the client goes; raise ClientGoneError then.

    The request's body has been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        for one in (task, gone):
            one.cancel()


async def _disconnected(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
