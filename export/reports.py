"""Where an export tells how far it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reports:
    """Who hears of an export's steps."""

    line: Callable[[str], None] = log.info
    """Gets a line for every step done."""
    progress: Callable[[str, int, int], None] = lambda step, done, total: None
    """Gets the step under way, and how much of it is done."""

    def of(self, step: str) -> Callable[[int, int], None]:
        """Progress of one step."""
        return lambda done, total: self.progress(step, done, total)


QUIET = Reports()
