"""The thread that owns the pipeline: it takes what waits, reads it in one batch, and answers each job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from emo_edge.errors import EmoEdgeError
from emo_edge.inference.frames import Faces
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image
from emo_edge.serving.engine.jobs import ClosingError, Job, Readings
from emo_edge.serving.engine.metrics import ServerMetrics
from emo_edge.serving.engine.queue import FairQueue

logger = logging.getLogger(__name__)

BATCH_PICTURES = 16
"""Most pictures of a batch."""
COUNT_S = 0.001
"""Without a job, after which batches are counted: by then their answers are on their way, which would wait for Python's
lock meanwhile."""
UNCOUNTED = 16
"""Most batches that are not counted yet."""


class Reader(Protocol):
    """The part of `EmotionPipeline` that is used."""

    def read(
        self,
        image: Image,
        request: Request | None = None,
        *,
        boxes: Sequence[Box] | None = None,
        boxes_of: str | None = None,
        faces: Faces = "all",
    ) -> list[EmotionResult]:
        """Read a picture."""

    def read_many(
        self, images: Sequence[Image], request: Request | None = None, *, faces: Faces = "all"
    ) -> list[list[EmotionResult]]:
        """Read several pictures."""

    def read_clip_faces(
        self, frames: Sequence[Image], request: Request | None = None, *, faces: Faces = "all"
    ) -> list[EmotionResult]:
        """Read a clip."""


class EngineThread:
    """One thread over one pipeline. Nothing waits for a batch to fill: what came while it read is the next batch."""

    def __init__(
        self,
        pipeline: Reader,
        waiting: int,
        metrics: ServerMetrics,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline, self._queue, self._metrics, self._now = pipeline, FairQueue(waiting), metrics, now
        self._condition, self._closing, self._is_reading = threading.Condition(), False, False
        self._reading = threading.Lock()
        """Held while a batch is read."""
        self._uncounted: list[tuple[int, list[Readings]]] = []
        """Pictures and readings of batches that were answered."""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; its future has the readings. Raises QueueFullError and ClosingError."""
        with self._condition:
            if self._closing:
                raise ClosingError("the server is ending: try again later")
            job.entered_s = self._now()
            self._queue.put(job)
            self._metrics.waiting.set(len(self._queue))
            self._condition.notify()

    @property
    def is_idle(self) -> bool:
        """Return True if a job that comes now is read at once."""
        return not self._is_reading and not len(self._queue)

    def use(self, pipeline: Reader) -> None:
        """Read with another pipeline from the next batch on; return when nobody reads with the one before."""
        with self._reading:
            self._pipeline = pipeline

    def count(self) -> None:
        """Bring the metrics up to date."""
        with self._condition:
            batches, self._uncounted = self._uncounted, []
        for pictures, readings in batches:
            self._metrics.batch_pictures.observe(pictures)
            for face in (face for one in readings for faces in one for face in faces):
                self._metrics.count_stages(face.stage_ms)

    def close(self) -> None:
        """Refuse what waits, and wait for the batch under way."""
        with self._condition:
            self._closing = True
            for job in self._queue.drain():
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(ClosingError("the server ended before this was read"))
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            with self._reading:
                self._read(batch)
            if len(self._uncounted) >= UNCOUNTED:
                self.count()
        self.count()

    def _next_batch(self) -> list[Job]:
        """Wait for jobs and take them; return an empty list at the end."""
        with self._condition:
            self._is_reading = False
            while not self._closing:
                now_s = self._now()
                batch = self._queue.take(BATCH_PICTURES, now_s)
                self._metrics.waiting.set(len(self._queue))
                if batch:
                    self._is_reading = True
                    for job in batch:
                        self._metrics.wait_seconds.observe(now_s - job.entered_s)
                    return batch
                if not self._condition.wait(COUNT_S if self._uncounted else None):
                    self.count()
        return []

    def _read(self, batch: list[Job]) -> None:
        try:
            readings = [self._readings(batch[0])] if len(batch) == 1 else self._together(batch)
        except BaseException as error:
            self._after_failure(batch, error)
            return
        with self._condition:
            self._uncounted.append((sum(len(job.images) for job in batch), readings))
        for job, one in zip(batch, readings, strict=True):
            job.future.set_result(one)

    def _after_failure(self, batch: list[Job], error: BaseException) -> None:
        """Give the error to its job; where several shared the batch, find out whose it is."""
        if len(batch) > 1:
            for job in batch:
                self._read([job])
            return
        if not isinstance(error, EmoEdgeError):
            logger.error("a reading failed", exc_info=error)
        batch[0].future.set_exception(error)

    def _together(self, batch: list[Job]) -> list[Readings]:
        images = [image for job in batch for image in job.images]
        faces = iter(self._pipeline.read_many(images, batch[0].request, faces=batch[0].faces))
        return [[next(faces) for _ in job.images] for job in batch]

    def _readings(self, job: Job) -> Readings:
        if job.load is not None:
            job.load()
        if not job.images:
            return []
        if job.clip:
            return [self._pipeline.read_clip_faces(job.images, job.request, faces=job.faces)]
        if job.boxes is not None:
            return [self._pipeline.read(job.images[0], job.request, boxes=job.boxes, boxes_of=job.boxes_of)]
        return self._pipeline.read_many(job.images, job.request, faces=job.faces)
