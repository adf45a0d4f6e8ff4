"""Bounded trials: a child process reads the files, one after another; this one counts and keeps those that break it."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import NamedTuple

from emo_edge.errors import EmoEdgeError

CPU_SECONDS = 2.0
"""A trial may take, of the processor: a busy machine makes no file hostile."""
MEMORY = 1 << 30
"""Bytes that a trial may add."""
PATIENCE = 60.0
"""Seconds by the clock after which a trial is taken for endless."""


class Kind(NamedTuple):
    """One kind of file: whole ones, what breaks them, and the reader."""

    file_name: str
    originals: Callable[[], Sequence[bytes]]
    mutated: Callable[[Random, bytes], bytes]
    read: Callable[[Path], object]
    """Reads the file; an `EmoEdgeError` is a right answer, as a result is."""


class Failure(NamedTuple):
    """A file that its reader did not refuse as it should."""

    number: int
    problem: str


class Trial(NamedTuple):
    """One file's reading."""

    refused: bool
    problem: str
    """Empty where there is none."""
    seconds: float
    """Of the processor."""
    added_bytes: int
    """Most that the resident memory grew by."""
    peak_bytes: int
    """Most resident memory of the process."""


@dataclass
class Outcome:
    """Counts of a campaign, and the most that one file took."""

    read: int = 0
    refused: int = 0
    failures: list[Failure] = field(default_factory=list)
    slowest_s: float = 0.0
    added_bytes: int = 0
    peak_bytes: int = 0

    def add(self, number: int, trial: Trial) -> None:
        """Count one trial."""
        self.refused += trial.refused and not trial.problem
        self.read += not trial.refused and not trial.problem
        self.slowest_s = max(self.slowest_s, trial.seconds)
        self.added_bytes = max(self.added_bytes, trial.added_bytes)
        self.peak_bytes = max(self.peak_bytes, trial.peak_bytes)
        if trial.problem:
            self.failures.append(Failure(number, trial.problem))


def content_of(kind: Kind, originals: Sequence[bytes], seed: int, number: int) -> bytes:
    """Return the file of one trial."""
    rng = Random(f"{seed}-{number}")
    return kind.mutated(rng, rng.choice(originals))


def run_campaign(kind: Kind, seed: int, count: int, kept: Path | None = None) -> Outcome:
    """Read ``count`` mutated files; those that break the reader are written to ``kept``, named after kind and number.

    A failure is any other error than an `EmoEdgeError`, the end of the process, more than `CPU_SECONDS`, or more than
    `MEMORY`.
    """
    outcome, originals, number = Outcome(), kind.originals(), 0
    _read_whole(kind, originals)
    while number < count:
        number = _watched(kind, originals, seed, (number, count), outcome)
    if kept is not None and outcome.failures:
        kept.mkdir(parents=True, exist_ok=True)
        for failure in outcome.failures:
            name = f"{seed}-{failure.number}-{kind.file_name}"
            (kept / name).write_bytes(content_of(kind, originals, seed, failure.number))
    return outcome


def _read_whole(kind: Kind, originals: Sequence[bytes]) -> None:
    """Read the whole files, which must succeed; what the reader imports is then there for every trial."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind.file_name
        for content in originals:
            path.write_bytes(content)
            kind.read(path)


def _watched(kind: Kind, originals: Sequence[bytes], seed: int, numbers: tuple[int, int], outcome: Outcome) -> int:
    """Count what a child reports until it ends or breaks; return the number to go on with."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_read_all, args=(sender, kind, originals, seed, *numbers), daemon=True)
    child.start()
    sender.close()
    number, last = numbers
    try:
        while number < last:
            if not receiver.poll(PATIENCE):
                outcome.failures.append(Failure(number, f"no end within {PATIENCE:g} s"))
                return number + 1
            outcome.add(number, Trial(*receiver.recv()))
            number += 1
    except EOFError:
        child.join()
        outcome.failures.append(Failure(number, f"the process ended with {child.exitcode}"))
        number += 1
    finally:
        child.kill()
        child.join()
    return number


def _read_all(sender: Connection, kind: Kind, originals: Sequence[bytes], seed: int, first: int, last: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_bytes() + 4 * MEMORY, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind.file_name
        for number in range(first, last):
            path.write_bytes(content_of(kind, originals, seed, number))
            sender.send(_trial(kind, path))


def _trial(kind: Kind, path: Path) -> Trial:
    _forget_peak()
    before, resident = resource.getrusage(resource.RUSAGE_SELF), resident_bytes()
    refused, problem = False, ""
    try:
        kind.read(path)
    except EmoEdgeError:
        refused = True
    except BaseException as error:
        problem = _described(error)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss << 10
    added = max(0, peak - resident)
    if seconds > CPU_SECONDS:
        problem = problem or f"{seconds:.1f} s of the processor"
    if added > MEMORY:
        problem = problem or f"{added / 1e9:.1f} GB of memory"
    return Trial(refused, problem, seconds, added, peak)


def _forget_peak() -> None:
    """Let Linux count the peak of the resident memory anew: else only the first of two large files is noticed."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    return f"{type(error).__name__}: {ascii(str(error))[:200]} at {where}"


def _virtual_bytes() -> int:
    return _statm(0) if sys.platform == "linux" else 1 << 36


def resident_bytes() -> int:
    """Return the resident memory of this process; elsewhere than on Linux its peak so far."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return _statm(1)


def _statm(column: int) -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[column]
    return int(pages) * resource.getpagesize()
