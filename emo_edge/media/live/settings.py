"""Settings of a live source, and the delays between attempts to open it again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from emo_edge.errors import InputError

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
JITTER = 0.25
"""Largest part of a delay that chance adds or takes away: many devices do not knock at the same moment."""
LOST_STALLS = 5
"""A source that is silent for so many times the seconds of a stall is lost."""


@dataclass(frozen=True)
class CaptureSettings:
    """Settings of a live source. Raises InputError for one that means nothing."""

    stall_s: float = 2.0
    """Seconds without a frame after which a camera or stream has stalled; after five times as many it is lost."""
    reconnect: bool = False
    """True opens a lost camera or stream again; False ends with a DeviceError."""
    realtime: bool = False
    """True plays a video file at its own pace, and skips frames that come too fast; False takes every frame."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.stall_s) and self.stall_s > 0):
            raise InputError(f"`stall` is a number of seconds above 0, not {self.stall_s}")

    @property
    def lost_s(self) -> float:
        """Return the seconds without a frame after which a source is lost."""
        return LOST_STALLS * self.stall_s


def retry_delay(attempt: int, chance: float) -> float:
    """Return the seconds before an attempt, from 0 on, to open a source again; ``chance`` is in [0, 1)."""
    doubled = min(FIRST_DELAY_S * 2.0 ** min(attempt, 16), LONGEST_DELAY_S)
    return doubled * (1 + JITTER * (2 * chance - 1))
