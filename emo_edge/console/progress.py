"""Progress of long work: callbacks, and their display on stderr."""

from __future__ import annotations

import logging
import sys
import threading
import time
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
LINE_SECONDS = 10.0
"""Between two lines of progress where stderr is no terminal: in a log, in a service, behind a pipe."""

FIRST = "load libraries and inputs"
"""Step before any that is named."""


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
MEGABYTE = 10**6


def in_megabytes(progress: Progress) -> Progress:
    """Return a progress in bytes that reports in megabytes."""
    return lambda done, total: progress(done // MEGABYTE, total // MEGABYTE)


@contextmanager
def shown_reports() -> Iterator[Reports]:
    """Print steps to stderr; of the one under way a bar where stderr is a terminal, else a line every 10 s.

    The first one is `FIRST`: PyTorch alone takes half a minute to import where the disk is slow.
    """
    with _bar() if sys.stderr.isatty() else printed_progress(_print, LINE_SECONDS) as reports:
        reports.progress(FIRST, 0, 1)
        yield reports


@contextmanager
def _bar() -> Iterator[Reports]:
    from tqdm import tqdm

    with tqdm(leave=False, unit_scale=True) as bar:
        under_way = ""

        def progress(step: str, done: int, total: int) -> None:
            nonlocal under_way
            if step != under_way:
                under_way = step
                bar.reset(total)
                bar.set_description(printable(step))
            bar.update(done - bar.n)

        yield Reports(lambda line: tqdm.write(printable(line), file=sys.stderr), progress)


@contextmanager
def printed_progress(write: Callable[[str], None], seconds: float) -> Iterator[Reports]:
    """Yield reports whose lines go to ``write``, and with them the step under way, every ``seconds``.

    A thread writes them: a step may be one long call, such as the tracing of a network.
    """
    state, ended = StepState(time.monotonic()), threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            if state.step:
                write(state.described(time.monotonic()))

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield Reports(write, state.note)
    finally:
        ended.set()
        watcher.join()


class StepState:
    """The step under way: its items, and how long it takes."""

    def __init__(self, now: float) -> None:
        self.step, self.done, self.total = "", 0, 0
        self._started, self._first = now, 0

    def note(self, step: str, done: int, total: int) -> None:
        """Take over how far a step is."""
        if step != self.step:
            self._started, self._first = time.monotonic(), done
        self.step, self.done, self.total = step, done, total

    def described(self, now: float) -> str:
        """Return a line: the step, its items done and in all, the time it has taken and the time that is left."""
        taken, gained = now - self._started, self.done - self._first
        counted = f", {self.done} of {self.total}" if self.total > 1 else ""
        left = f", about {taken / gained * (self.total - self.done):.0f} s left" if gained > 0 and counted else ""
        if counted and self.done >= self.total:
            return f"after {self.step}, {self.total} of {self.total}: going on"
        return f"{self.step}{counted}, {taken:.0f} s{left}"


def _print(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
