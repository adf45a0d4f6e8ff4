"""One WebSocket's live loop, in a thread of its own: pictures in, events out, readings through the engine's queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

from emo_edge.errors import EmoEdgeError
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.live.events import FrameEvent, LiveEvent
from emo_edge.inference.live.loop import LiveLoop
from emo_edge.inference.live.reading_thread import ReadingThread
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.capture import MONOTONIC
from emo_edge.serving.engine.jobs import ClosingError, Job
from emo_edge.serving.live.capture import SocketCapture
from emo_edge.serving.routes.service import Service

logger = logging.getLogger(__name__)


class LiveSession:
    """Follows the faces in the pictures of one client, from one hello to the next."""

    def __init__(
        self,
        service: Service,
        client: str,
        request: Request,
        send: Callable[[LiveEvent], None],
        refuse: Callable[[int, str], None],
        ended: Callable[[str], None],
    ) -> None:
        """Begin.

        Args:
            service: the server's parts.
            client: whose turn a reading takes.
            request: labels and options.
            send: hands an event to the client, in the session's thread, and waits until it is on its way.
            refuse: is told the index of a picture that cannot be decoded, and why.
            ended: is told how it ended: "" as asked, else the reason.
        """
        self._service, self._client, self._request = service, client, request
        self._send, self._ended = send, ended
        self._capture = SocketCapture(MONOTONIC, service.limits.pixels, refuse)
        self._thread = threading.Thread(target=self._work, name="live", daemon=True)
        self._thread.start()

    def put(self, picture: bytes) -> None:
        """Hand in a picture: a JPEG, WebP or PNG file."""
        self._capture.put(picture)

    def close(self) -> None:
        """Ask it to end; a reading under way ends first."""
        self._capture.close()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _work(self) -> None:
        reason = ""
        try:
            detector = self._service.open_detector()

            def read(image: Image, boxes: list[Box]) -> list[EmotionResult]:
                job = Job(self._client, [image], self._request, boxes=boxes, boxes_of=detector.name)
                self._service.engine.submit(job)
                return job.future.result()[0]

            reader = ReadingThread(read, MONOTONIC)
            fitted = self._service.pipeline.manifest.live
            loop = LiveLoop(self._capture, LiveTracker(detector), reader, LiveSettings(), MONOTONIC, fitted)
            for event in loop.events():
                if isinstance(event, FrameEvent):
                    self._count(event)
                self._record(event)
                self._send(event)
        except (ClosingError, CancelledError):
            reason = "the server is ending"
        except EmoEdgeError as error:
            reason = str(error)
        except Exception as error:
            if not self._capture.over:
                logger.error("a live connection failed", exc_info=error)
            reason = "the server failed; its log says why"
        finally:
            self._capture.close()
            self._ended(reason)

    def _record(self, event: LiveEvent) -> None:
        recorder = self._service.recorder
        if recorder is not None:
            recorder.event(self._client, event.to_dict(), event.image if isinstance(event, FrameEvent) else None)

    def _count(self, event: FrameEvent) -> None:
        metrics = self._service.metrics
        metrics.live_age_seconds.observe(event.age_ms / 1000)
        for reason, count in event.dropped.items():
            metrics.live_dropped.labels(reason).inc(count)
