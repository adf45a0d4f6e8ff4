"""The order of ``emo-edge label``: list, leave out what is finished, read, and write part after part."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from emo_edge.batch.items import Item, chunks
from emo_edge.batch.listing import Listing
from emo_edge.batch.parts import FinishedInputs, RunFolder
from emo_edge.batch.reader import Outcome, ReadChunk, joined_chunks
from emo_edge.errors import InputError
from emo_edge.rendering.tables.rows import TableSetup
from emo_edge.utils.text import utf8_name

logger = logging.getLogger(__name__)
ROWS_PER_PART = 10_000
JOINED_CHUNKS = 64
"""Chunks of rows that become one while they wait for their part."""


class Engine(Protocol):
    """Reads chunks of inputs; it is open while its context is entered."""

    def open(self) -> TableSetup:
        """Open a first reader; return the columns and settings of its rows."""

    def run(self, chunks: Iterable[list[Item]]) -> Iterator[ReadChunk]:
        """Yield the rows of each chunk as soon as they are there, in any order."""


@dataclass
class LabelCounts:
    """Counts of a run."""

    read: int = 0
    """Inputs that were read now."""
    unchanged: int = 0
    """Inputs whose rows an earlier run has."""
    twice: int = 0
    """Inputs that the sources name more than once."""
    rows: int = 0
    faces: int = 0
    without_face: int = 0
    errors: int = 0
    parts: int = 0
    """Parts that were written now."""
    writing_s: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    """Errors by kind."""
    last_error: str = ""

    @property
    def done(self) -> int:
        """Inputs that are behind the run."""
        return self.read + self.unchanged + self.twice

    def add(self, outcome: Outcome) -> None:
        """Count the end of an input."""
        if not outcome.rows:
            self.unchanged += 1
            return
        self.read += 1
        self.rows += outcome.rows
        self.faces += outcome.faces
        if outcome.error_kind:
            self.errors += 1
            self.kinds[outcome.error_kind] += 1
            self.last_error = outcome.error or ""
        elif not outcome.faces:
            self.without_face += 1


def label(
    listing: Listing,
    out: Path,
    engine: Engine,
    *,
    rows_per_part: int = ROWS_PER_PART,
    max_errors: int | None = None,
    progress: Callable[[LabelCounts], None] = lambda counts: None,
) -> LabelCounts:
    """Read the inputs of a listing and write their rows below ``out``; return the counts.

    Inputs with rows from an earlier run are left out if their content is the same; an interrupted run is continued so.
    What was read before an interruption or an error is written.

    Args:
        listing: of the inputs.
        out: folder of the parts and their manifest.
        engine: an entered one.
        rows_per_part: after which a part is written.
        max_errors: inputs with an error that are allowed; None allows all.
        progress: called after each chunk.

    Raises InputError for a folder of another run, for more errors than are allowed, where nothing is listed and where
    the disk is full; DeviceError where the device is lost.
    """
    with RunFolder(out) as folder:
        for name in folder.begin(engine.open()):
            logger.warning("%s: is missing; its inputs are read again", out / name)
        counts, finished = LabelCounts(), FinishedInputs()
        for name, digest in folder.finished():
            finished.note(name, digest)
        parts = _Parts(folder, counts, rows_per_part)
        try:
            for read in engine.run(chunks(_unread(listing, finished, counts))):
                parts.take(read)
                progress(counts)
                if max_errors is not None and counts.errors > max_errors:
                    raise InputError(
                        f"{counts.errors} inputs cannot be read, more than `max_errors` {max_errors}; the last one: "
                        f"{counts.last_error}"
                    )
        finally:
            parts.write()
        if not counts.done:
            raise InputError(f"{', '.join(listing.sources)}: no picture and no video to label")
        return counts


def _unread(listing: Listing, finished: FinishedInputs, counts: LabelCounts) -> Iterator[Item]:
    """Yield each input once, with what is known of it."""
    listed = FinishedInputs()
    for item in listing:
        name = utf8_name(item.name)
        if listed.known(name)[0]:
            counts.twice += 1
            continue
        listed.note(name, None)
        labelled, known = finished.known(name)
        yield replace(item, labelled=labelled, known=known) if labelled else item


class _Parts:
    """Rows that wait for their part."""

    def __init__(self, folder: RunFolder, counts: LabelCounts, rows_per_part: int) -> None:
        self._folder, self._counts, self._most = folder, counts, rows_per_part
        self._waiting: list[ReadChunk] = []
        self._joined = 0
        """Of those that wait: so many, the first, are joined ones."""
        self._rows = 0

    def take(self, read: ReadChunk) -> None:
        """Take the rows of a chunk over; write a part if there are enough."""
        rows = sum(one.rows for one in read.outcomes)
        for outcome in read.outcomes:
            self._counts.add(outcome)
        if rows:
            self._waiting.append(read)
            self._rows += rows
        if len(self._waiting) >= self._joined + JOINED_CHUNKS:
            self._waiting[self._joined :] = [joined_chunks(self._waiting[self._joined :])]
            self._joined += 1
        if self._rows >= self._most:
            self.write()

    def write(self) -> None:
        """Write what waits as a part; nothing if nothing does."""
        # Taken out first: what an interruption strikes in here is lost, and never written twice.
        waiting, self._waiting, self._joined, self._rows = self._waiting, [], 0, 0
        if not waiting:
            return
        started = time.perf_counter()
        outcomes = [one for read in waiting for one in read.outcomes if one.rows]
        self._folder.add(
            [read.table for read in waiting],
            len(outcomes),
            sum(one.faces for one in outcomes),
            sum(one.error_kind is not None for one in outcomes),
            {utf8_name(one.name) for one in outcomes if one.replaces},
        )
        self._counts.parts += 1
        self._counts.writing_s += time.perf_counter() - started
