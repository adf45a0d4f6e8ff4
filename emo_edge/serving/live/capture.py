"""Frames of a WebSocket as a live source: a slot of one picture, the newest wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from emo_edge.errors import EmoEdgeError
from emo_edge.media.images import image_from_bytes
from emo_edge.media.live.capture import LiveFrame, StateChange
from emo_edge.media.live.clock import Clock

SOURCE = "websocket"


@dataclass(frozen=True)
class Sent:
    """A picture as it came."""

    data: bytes
    index: int
    at_s: float


class SocketCapture:
    """A `Capture` of the live loop. The event loop puts pictures in; the thread of the live loop takes and decodes."""

    is_every_frame = False

    def __init__(self, clock: Clock, max_pixels: int, refuse: Callable[[int, str], None]) -> None:
        self.name, self.over = SOURCE, False
        self.changes: list[StateChange] = [StateChange("opening", "", clock.now())]
        self._clock, self._max_pixels, self._refuse = clock, max_pixels, refuse
        self._bell, self._lock = threading.Event(), threading.Lock()
        self._held: Sent | None = None
        self._sent = self._overtaken = self._damaged = 0
        self._start_s = clock.now()
        self.error: EmoEdgeError | None = None

    def put(self, data: bytes) -> None:
        """Keep a picture, the newest one; one that nobody has taken is dropped, and counted."""
        with self._lock:
            self._overtaken += self._held is not None
            self._held = Sent(data, self._sent, self._clock.now())
            self._sent += 1
        self._bell.set()

    def poll(self) -> LiveFrame | None:
        """Take the picture and decode it; tell the client of one that cannot be decoded."""
        with self._lock:
            sent, self._held = self._held, None
            self._bell.clear()
        if sent is None:
            return None
        try:
            image = image_from_bytes(sent.data, "the picture", max_pixels=self._max_pixels)
        except EmoEdgeError as error:
            self._damaged += 1
            self._refuse(sent.index, str(error))
            return None
        if sent.index - self._damaged == 0:
            self.changes.append(StateChange("playing", "", sent.at_s))
        return LiveFrame(image, sent.index, 0, sent.at_s - self._start_s, sent.at_s)

    def wait(self, seconds: float) -> None:
        """Wait for a picture."""
        self._bell.wait(seconds)

    def dropped(self) -> dict[str, int]:
        """Return the pictures that were never read, by reason."""
        return {"overtaken": self._overtaken, "damaged": self._damaged}

    def close(self) -> None:
        """End: nothing more is taken."""
        self.over = True
        self._bell.set()
