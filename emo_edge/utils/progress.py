"""Where an export tells how far it is."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def shown_reports() -> Iterator[Reports]:
    """Print steps to stderr, and a bar of the one under way where stderr is a terminal."""
    from tqdm import tqdm

    with tqdm(disable=None, leave=False, unit_scale=True) as bar:
        under_way = ""

        def progress(step: str, done: int, total: int) -> None:
            nonlocal under_way
            if step != under_way:
                under_way = step
                bar.reset(total)
                bar.set_description(step)
            bar.update(done - bar.n)

        yield Reports(lambda line: tqdm.write(line, file=sys.stderr), progress)
