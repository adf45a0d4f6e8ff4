"""Cameras of the server: one computation each, for any number of viewers, while anybody watches."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.inference.live.api import live, live_run
from emo_edge.inference.live.events import FrameEvent, LiveEvent, SourceEvent
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.live.sources import LiveRun
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.settings import CaptureSettings
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.media.sources import without_password
from emo_edge.serving.engine.jobs import Job
from emo_edge.serving.engine.recorder import Recorder
from emo_edge.serving.routes.service import Service
from emo_edge.utils.opencv import open_cv2
from emo_edge.utils.text import utf8_text

logger = logging.getLogger(__name__)
NAMED = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,32})=(?P<address>.+)", re.DOTALL)
LINGER_S = 10.0
"""A source stays open for so long after its last viewer: a page that is loaded again finds the same ids."""
LONGEST_SIDE, QUALITY = 640, 80
"""Of a frame as viewers get it."""
Events = Callable[[], Generator[LiveEvent, None, None]]


class Viewer(Protocol):
    """Whoever watches a source. Its methods are called in the source's thread, and return at once."""

    def frame(self, event: str, picture: bytes) -> None:
        """Take a frame; it replaces one that was not sent yet."""

    def event(self, event: str) -> None:
        """Take another event; none is left out."""

    def ended(self, reason: str) -> None:
        """Take notice that nothing more comes."""


class SourceFeed:
    """One source: a thread that follows it, and its viewers."""

    def __init__(
        self,
        name: str,
        open_events: Events,
        address: str = "",
        stop: Callable[[], None] = lambda: None,
        recorder: Recorder | None = None,
    ) -> None:
        """Begin to wait for viewers.

        Args:
            name: that viewers use.
            open_events: opens the source.
            address: as events show it, without its password; viewers get the name in its place.
            stop: ends the events, from another thread, also while none comes.
            recorder: stores the events, where the operator asked for it.
        """
        self.name, self.state, self.reason = name, "closed", ""
        self._address, self._recorder = address, recorder
        self._open, self._viewers, self._stop = open_events, list[Viewer](), stop
        self._changed, self._closing = threading.Condition(), False
        self._watched_s = 0.0
        self._thread = threading.Thread(target=self._work, name=f"source {name}", daemon=True)
        self._thread.start()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``GET /v1/sources`` shows; never the address."""
        return {"name": self.name, "state": self.state, "reason": self.reason, "viewers": len(self._viewers)}

    def join(self, viewer: Viewer) -> None:
        """Add a viewer; the first one opens the source."""
        with self._changed:
            self._viewers.append(viewer)
            self._changed.notify()

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        with self._changed:
            if viewer in self._viewers:
                self._viewers.remove(viewer)

    def end(self) -> None:
        """Ask the thread to end, and let the viewers go."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._stop()
        self._dismiss("the server is ending")

    def close(self) -> None:
        """End; a reading under way ends first."""
        self.end()
        self._thread.join(LINGER_S)

    def _work(self) -> None:
        while self._is_wanted():
            reason = self._follow()
            self.state = "closed" if self.state != "ended" else self.state
            if reason is not None:
                self.reason = reason
                self._dismiss(reason)

    def _is_wanted(self) -> bool:
        """Wait for a viewer; return False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._viewers or self._closing)
            return not self._closing

    def _follow(self) -> str | None:
        """Follow the source until nobody watches; return the reason why it ended by itself."""
        self._watched_s = time.monotonic()
        try:
            with closing(self._open()) as events:
                for event in events:
                    self._publish(event)
                    if not self._is_watched():
                        return None
        except EmoEdgeError as error:
            return self._without_address(str(error))
        except CancelledError:
            return "the server is ending"
        except Exception:
            # A library's own message may hold the address as it was given.
            logger.error("the source %s failed\n%s", self.name, unknown_text(traceback.format_exc()))
            return "the server failed; its log says why"
        return "the source has ended"

    def _is_watched(self) -> bool:
        now_s = time.monotonic()
        if self._viewers:
            self._watched_s = now_s
        return not self._closing and now_s - self._watched_s < LINGER_S

    def _publish(self, event: LiveEvent) -> None:
        if isinstance(event, SourceEvent):
            event = replace(event, reason=self._without_address(event.reason))
            self.state, self.reason = event.state, event.reason
        content = {**event.to_dict(), "source": self.name}
        if self._recorder is not None:
            self._recorder.event(self.name, content, event.image if isinstance(event, FrameEvent) else None)
        with self._changed:
            viewers = list(self._viewers)
        if not viewers:
            return
        text = json.dumps(content, allow_nan=False)
        if isinstance(event, FrameEvent):
            picture = jpeg(event.image)
            for viewer in viewers:
                viewer.frame(text, picture)
        else:
            for viewer in viewers:
                viewer.event(text)

    def _without_address(self, text: str) -> str:
        # The number of a camera is no secret, and stands in every other number as well.
        hidden = self._address if not self._address.isdigit() else ""
        return utf8_text(text.replace(hidden, self.name) if hidden else text)

    def _dismiss(self, reason: str) -> None:
        with self._changed:
            viewers, self._viewers = self._viewers, []
        for viewer in viewers:
            viewer.ended(reason)


class QueuedPipeline:
    """A pipeline for `emo_edge.live` whose readings wait for their turn as those of clients."""

    def __init__(self, service: Service, client: str) -> None:
        self._service, self._client = service, client
        self.detector, self.manifest = service.open_detector(), service.pipeline.manifest

    def check(self, request: Request) -> None:
        """Raise InputError for a request that no image could fulfil."""
        self._service.pipeline.check(request)

    def read(
        self,
        image: Image,
        request: Request | None = None,
        *,
        boxes: Sequence[Box] | None = None,
        boxes_of: str | None = None,
    ) -> list[EmotionResult]:
        """Read faces in known boxes."""
        job = Job(self._client, [image], request or self._service.request, boxes=boxes, boxes_of=boxes_of)
        self._service.engine.submit(job)
        return job.future.result()[0]


def named_sources(given: Sequence[str]) -> dict[str, str]:
    """Return addresses by name: ``NAME=ADDRESS``, or ``source-1`` and so on; raise InputError for a name twice."""
    named: dict[str, str] = {}
    for number, text in enumerate(given, 1):
        match = NAMED.fullmatch(text)
        name, address = (match["name"], match["address"]) if match else (f"source-{number}", text)
        if name in named:
            raise InputError(f"--source: two sources are called {name}; give each another name, as in door=ADDRESS")
        named[name] = address
    return named


@contextmanager
def open_sources(service: Service, addresses: dict[str, str]) -> Iterator[dict[str, SourceFeed]]:
    """Yield a feed of each source, by name; raise InputError for an address that cannot be one."""
    settings = LiveSettings(capture=CaptureSettings(reconnect=True, realtime=True))

    def feed(name: str, address: str) -> SourceFeed:
        runs = list[LiveRun]()

        def events() -> Generator[LiveEvent, None, None]:
            runs[:] = [live_run(QueuedPipeline(service, f"source-{name}"), address, service.request, settings)]
            return runs[0].events()

        def stop() -> None:
            for run in runs:
                run.stop()

        return SourceFeed(name, events, without_password(address), stop, service.recorder)

    for address in addresses.values():
        # What cannot be a source is refused before the server says that it is ready; nothing is opened yet.
        live(service.pipeline, address, service.request, settings).close()
    feeds = {name: feed(name, address) for name, address in addresses.items()}
    try:
        yield feeds
    finally:
        for one in feeds.values():
            one.end()
        for one in feeds.values():
            one.close()


def jpeg(image: Image) -> bytes:
    """Return a frame as a JPEG file, with at most `LONGEST_SIDE` pixels a side."""
    cv2 = open_cv2()
    scale = LONGEST_SIDE / max(image.shape[:2])
    small = image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(coded)
