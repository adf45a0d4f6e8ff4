"""Wall time by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up milliseconds under names; a branch starts from what was measured before it."""

    def __init__(self, milliseconds: dict[str, float] | None = None) -> None:
        self.milliseconds = dict(milliseconds or {})

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as part of ``stage``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + 1000 * (time.perf_counter() - started)

    def branch(self) -> Stopwatch:
        """Continue separately, from here."""
        return Stopwatch(self.milliseconds)
