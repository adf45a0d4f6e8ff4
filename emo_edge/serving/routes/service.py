"""The parts that every route uses: the pipeline, the engine, the limits; the way from a job to its readings."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from emo_edge.serving.engine.recorder import Recorder
from emo_edge.serving.engine.thread import EngineThread
from emo_edge.serving.routes.pictures import PixelBudget
from emo_edge.serving.routes.remote_pictures import RemotePictures

Result = TypeVar("Result")
DECODERS = 4
"""Pictures that are decoded at a time."""


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
    open_profile: Callable[[str], EmotionPipeline] | None = None
    """Opens the bundle in another profile; None keeps the one that is open."""
    is_changing: bool = False
    """True while another profile is being opened."""
    decoders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DECODERS, "decoder"))
    recorder: Recorder | None = None
    """Stores readings, where the operator asked for it."""
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
    def room(self) -> int:
        """Return the number of requests that may still wait."""
        return self.limits.waiting - self.under_way

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request inside the block; raise QueueFullError, before a picture is decoded, for one too many."""
        if self.room <= 0:
            raise QueueFullError(f"{self.limits.waiting} readings wait already: try again in a moment")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    @property
    def profiles(self) -> list[str]:
        """Return the names of the profiles that a client may choose."""
        if self.open_profile is None:
            return [self.pipeline.engines.profile_name]
        return list(self.pipeline.manifest.profiles)

    async def readings(self, job: Job) -> Readings:
        """Return what a job gives; one that nobody waits for any more leaves the queue."""
        self.submit(job)
        return await asyncio.wrap_future(job.future)

    def submit(self, job: Job) -> None:
        """Queue a job, from any thread."""
        job.deadline_s = time.monotonic() + self.limits.deadline_s
        self.engine.submit(job)

    async def loaded_readings(self, job: Job, load: Callable[[], object]) -> Readings:
        """Return what a job gives whose images ``load`` sets, in the engine's thread where it waits, else in another.

        Each change of threads takes as long as a small picture takes to be decoded.
        """
        if self.engine.is_idle:
            job.load = load
            return await self.readings(job)
        work = asyncio.get_running_loop().run_in_executor(self.decoders, self._load_and_submit, job, load)
        try:
            await asyncio.shield(work)
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.future.cancel()
            # Its pictures are in memory until it ends.
            await asyncio.gather(work, return_exceptions=True)
            raise

    def _load_and_submit(self, job: Job, load: Callable[[], object]) -> None:
        load()
        if job.images:
            self.submit(job)
        elif job.future.set_running_or_notify_cancel():
            job.future.set_result([])


def client_of(request: HttpRequest) -> str:
    """Return whose turn a request takes: that of its address."""
    return request.client.host if request.client else "local"


async def while_connected(request: HttpRequest, work: Awaitable[Result]) -> Result:
    """Return what ``work`` gives, and cancel it when the client goes; raise ClientGoneError then.

    The request's body has been read. The work is awaited in the task of the request: one of its own would wait for two
    more rounds of the event loop.
    """
    task, gone, is_over = asyncio.current_task(), asyncio.ensure_future(_disconnected(request)), False
    assert task is not None

    def leave(_: object) -> None:
        if not is_over:
            task.cancel()

    gone.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if not gone.done():
            raise
        if sys.version_info >= (3, 11):
            # It was cancelled here, and goes on with the answer that nobody receives.
            task.uncancel()
        raise ClientGoneError from None
    finally:
        is_over = True
        gone.cancel()


async def _disconnected(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
