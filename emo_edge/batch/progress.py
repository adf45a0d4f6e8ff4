"""Progress of a run on stderr: a line that changes on a terminal, else one every ten seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from emo_edge.batch.listing import Listing
from emo_edge.batch.run import LabelCounts
from emo_edge.console.progress import LINE_SECONDS
from emo_edge.console.status_line import StatusLine
from emo_edge.errors import EmoEdgeError

REFRESH_S = 0.2
"""Between two drawings of the line."""


class LabelProgress:
    """Shows how far a run is; a thread counts the inputs meanwhile."""

    def __init__(self, listing: Listing, status: StatusLine, note: Callable[[str], None]) -> None:
        self._status, self._note = status, note
        self._started = self._shown = time.monotonic()
        self._total: int | None = None
        status.show("opening the bundle")
        threading.Thread(target=self._count, args=(listing,), name="count", daemon=True).start()

    def __call__(self, counts: LabelCounts) -> None:
        """Show the counts, if it is time."""
        now = time.monotonic()
        if now - self._shown < (REFRESH_S if self._status.live else LINE_SECONDS):
            return
        self._shown = now
        line = progress_text(counts, self._total, now - self._started)
        if self._status.live:
            self._status.show(line)
        else:
            self._note(line)

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self._started

    def _count(self, listing: Listing) -> None:
        try:
            self._total = listing.length()
        except (EmoEdgeError, OSError):  # the run itself reports it
            self._total = None


def progress_text(counts: LabelCounts, total: int | None, seconds: float) -> str:
    """Return a line: the inputs done and in all, errors, the rate and the time that is left."""
    rate = counts.read / seconds if seconds > 0 else 0.0
    known = total is not None and total >= counts.done
    parts = [f"{counts.done:,} of {total:,} done" if known else f"{counts.done:,} done"]
    if counts.errors:
        parts.append(f"{counts.errors:,} with errors")
    parts.append(f"{rate:.1f} a second")
    if known and total is not None and counts.done:
        parts.append(f"about {_duration(seconds / counts.done * (total - counts.done))} left")
    return ", ".join(parts)


def summary_text(counts: LabelCounts, seconds: float) -> str:
    """Return the line at the end of a run."""
    parts = [f"{counts.read:,} read in {_duration(seconds)}", f"{counts.rows:,} rows", f"{counts.faces:,} faces"]
    if counts.without_face:
        parts.append(f"{counts.without_face:,} without a face")
    if counts.errors:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in counts.kinds.most_common())
        parts.append(f"{counts.errors:,} with errors ({kinds})")
    if counts.unchanged:
        parts.append(f"{counts.unchanged:,} finished before")
    if counts.twice:
        parts.append(f"{counts.twice:,} named twice")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
