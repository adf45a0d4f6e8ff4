"""Settings of live results."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from emo_edge.errors import InputError
from emo_edge.media.live.settings import CaptureSettings


@dataclass(frozen=True)
class LiveSettings:
    """Settings of live results. Raises InputError for one that means nothing."""

    max_age_s: float = 0.5
    """Most seconds from the capture of a frame to its event that may be spent on waiting for labels."""
    reuse: bool = True
    """True reads an unchanged face only once."""
    duration_s: float | None = None
    """Seconds after which it ends: of a file by its time stamps, else by the clock; None goes on to the end."""
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    """Of the source."""
    pulse: bool = False
    """True measures the heart rate of every face once a second, where frames come fast enough. Not a medical device."""
    micro_expressions: bool = False
    """True looks for fast movements of the action units of every face that is read at 25 frames a second or more."""

    def __post_init__(self) -> None:
        for name, value in (("max_age", self.max_age_s), ("duration", self.duration_s)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"`{name}` is a number of seconds above 0, not {value}")
