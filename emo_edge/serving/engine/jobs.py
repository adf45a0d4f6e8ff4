"""A reading that a client waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from emo_edge.errors import EmoEdgeError
from emo_edge.inference.frames import Faces
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.media.crops import Box, Image

Readings = list[list[EmotionResult]]
"""The faces of each picture of a job; of a clip, one list."""


class QueueFullError(EmoEdgeError):
    """As many readings wait as may wait."""


class DeadlineError(EmoEdgeError):
    """A reading did not begin before its deadline."""


class ClosingError(EmoEdgeError):
    """The server ends and takes no more readings."""


@dataclass(eq=False)
class Job:
    """Pictures, or the frames of a clip, and what is asked about them."""

    client: str
    """Whose turn it is: the address, or one WebSocket."""
    images: Sequence[Image]
    request: Request
    faces: Faces = "all"
    clip: bool = False
    boxes: Sequence[Box] | None = None
    """Faces of the one picture that are known already; None searches."""
    boxes_of: str | None = None
    """Name of the detector that gave the boxes."""
    deadline_s: float = float("inf")
    """Of the monotonic clock."""
    entered_s: float = 0.0
    """Of the clock, at its queueing."""
    future: Future[Readings] = field(default_factory=Future)
    load: Callable[[], object] | None = None
    """Sets the images, in the engine's thread, before they are read; None where they are there."""

    def joins(self, other: Job) -> bool:
        """Return True if both can be read in one batch."""
        loaded = self.load is None and other.load is None
        plain = loaded and not (self.clip or other.clip or self.boxes is not None or other.boxes is not None)
        # Pieces of an answer go to the client who asked.
        silent = self.request.on_piece is None and other.request.on_piece is None
        return plain and silent and self.request == other.request and self.faces == other.faces
