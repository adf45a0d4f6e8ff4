"""Progress of long work: callbacks, and their display on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from emo_edge.utils.text import printable

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called with the items done and in all."""
StepProgress = Callable[[str, int, int], None]
"""Called with the step under way, and its items done and in all."""
FractionProgress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and the name of the phase."""


@dataclass(frozen=True)
class Reports:
    """Callbacks for an export's steps."""

    line: Callable[[str], None] = logger.info
    """Gets a line for every step done."""
    progress: StepProgress = lambda step, done, total: None

    def of(self, step: str) -> Progress:
        """Return the progress of one step."""
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
                bar.set_description(printable(step))
            bar.update(done - bar.n)

        yield Reports(lambda line: tqdm.write(printable(line), file=sys.stderr), progress)
