"""The clock of live sources, which tests replace: seconds that never run back, and waiting by them."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds of a monotonic clock, and waiting."""

    def now(self) -> float:
        """Return the seconds."""

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait, with the condition held, until it is notified or the seconds are over."""


class MonotonicClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return the seconds since some moment in the past; setting the date does not change them."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait, with the condition held, until it is notified or the seconds are over."""
        condition.wait(seconds)
