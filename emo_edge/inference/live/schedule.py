"""The order in which faces are read: those that changed, the least recently read first, as many as the age allows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from emo_edge.faces.live.tracker import LiveTrack
from emo_edge.inference.live.reading_thread import ReadingDone
from emo_edge.inference.live.signatures import UNCHANGED, Signature, difference, signature
from emo_edge.inference.results import EmotionResult
from emo_edge.media.crops import Box, Image

NEWEST = 0.3
"""Weight of the newest reading in the running mean of a face's seconds."""


@dataclass(frozen=True)
class FaceReading:
    """The newest reading of a track."""

    result: EmotionResult
    captured_s: float
    """Of the frame that was read, by the clock."""
    signature: Signature
    box: Box
    """The part of that frame that was read."""


class FaceReadings:
    """The newest reading of every track, and the faces that wait for one."""

    def __init__(self, *, reuse: bool = True, unchanged: float = UNCHANGED) -> None:
        self._reuse, self._unchanged = reuse, unchanged
        self._newest: dict[int, FaceReading] = {}

    def of(self, track: LiveTrack) -> FaceReading | None:
        """Return the newest reading of a track; None before the first one."""
        return self._newest.get(track.id)

    def store(self, done: ReadingDone, alive: Collection[int]) -> None:
        """Keep the results of the tracks that are still alive."""
        job = done.job
        for number, result, look, box in zip(job.ids, done.results, job.signatures, job.boxes, strict=True):
            if number in alive:
                self._newest[number] = FaceReading(result, job.captured_s, look, box)

    def drop(self, number: int) -> None:
        """Forget a lost track."""
        self._newest.pop(number, None)

    def is_unchanged(self, track: LiveTrack, now: Signature, frame: Image) -> bool:
        """Return True if the track's face looks as it did when it was read, in its present box or where it was read.

        A detector's box trembles about a face that stays where it is; there the frame itself is the same.
        """
        newest = self._newest.get(track.id)
        if not self._reuse or newest is None:
            return False
        if difference(now, newest.signature) < self._unchanged:
            return True
        there = signature(frame, newest.box)
        return there is not None and difference(there, newest.signature) < self._unchanged

    def least_recent_first(self, tracks: Sequence[LiveTrack]) -> list[LiveTrack]:
        """Return the tracks, the least recently read first; those that were never read, by id, before all others."""

        def read_s(track: LiveTrack) -> float:
            newest = self._newest.get(track.id)
            return float("-inf") if newest is None else newest.captured_s

        return sorted(tracks, key=lambda track: (read_s(track), track.id))


class ReadingCost:
    """Running mean of the seconds that the reading of a face takes; unknown before the first warm one."""

    def __init__(self) -> None:
        self._face_s: float | None = None

    def add(self, done: ReadingDone) -> None:
        """Count a reading; a cold one is no measure of those that follow."""
        if not done.results or any(result.cold for result in done.results):
            return
        face_s = done.seconds / len(done.results)
        self._face_s = face_s if self._face_s is None else self._face_s + NEWEST * (face_s - self._face_s)

    def faces_within(self, seconds: float) -> int:
        """Return how many faces can be read within ``seconds``; 1 while nothing is known."""
        if self._face_s is None:
            return 1
        return int(seconds / max(self._face_s, 1e-6))
