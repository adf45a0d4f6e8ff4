"""The protocol of readers: decoded frames with their time stamps, before a time line orders them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 36_000_000
"""Of a frame: 8K video, and 108 MB; several are kept at once."""
OPEN_TIMEOUT_S = 10
READ_TIMEOUT_S = 10
"""A stream that is silent for so long has stalled."""
USUAL_STEP_S = 1 / 25
"""Between frames of a source without a rate of its own."""


class RawFrame(Protocol):
    """A decoded frame."""

    stamp: float | None
    """Seconds as the source counts them; None where it has no time stamp."""
    duration: float
    """Seconds that the frame is shown; 0 where the source does not say."""

    def keep(self) -> None:
        """Make the pixels last beyond the next frame of the reader."""

    def pixels(self) -> NDArray[np.uint8]:
        """Return RGB [H, W, 3], or RGBA [H, W, 4] of a transparent video, upright."""


class FrameReader(Protocol):
    """A source of frames, read once from the start to the end."""

    step_s: float
    """Nominal seconds between two frames."""
    frame_count: int
    """Frames that the container lists one by one; 0 where it holds no such list."""
    duration_s: float
    """An estimate, 0 where there is none."""
    damaged: int
    """Packets so far that could not be read or decoded."""

    def frames(self) -> Iterator[RawFrame]:
        """Yield the frames in the order they are shown; DeviceError for a stream that stalls or breaks off."""

    def close(self) -> None:
        """Free the source."""


def nominal_step(rate: Any) -> float:
    """Return the seconds between frames at ``rate``, a number or None; the usual ones where it makes no sense."""
    return 1 / float(rate) if rate and 0 < float(rate) < 1000 else USUAL_STEP_S
