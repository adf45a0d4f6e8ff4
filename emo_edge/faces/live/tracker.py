"""Tracks of the faces of a live source: born, followed, missed for a while, lost; an id is never used twice.

A track is a box that moves. Nobody is recognised: whoever leaves and comes back is a new track, and two faces that
cross while both are hidden may be exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from emo_edge.faces.detector import DetectedFace, FaceDetector
from emo_edge.faces.live.assignment import assigned
from emo_edge.faces.live.box_filter import BoxFilter
from emo_edge.faces.live.search import FaceSearch, SearchIntervals
from emo_edge.media.crops import Box, Image

Loss = Literal["missed", "left", "resized", "source"]
"""Of a track: not detected for too long; outside the frame; the frame has another size; the source was lost."""


@dataclass(frozen=True)
class TrackTimes:
    """Seconds of a track's life."""

    birth_s: float = 0.1
    """From the first detection to a track with an id, so that a chance detection is none."""
    coast_s: float = 1.0
    """Without a detection, after which a track is lost."""
    chance_s: float = 0.3
    """Without a detection, after which a face that has no id yet is dropped."""
    gap_s: float = 3.0
    """Between two frames, over which no track goes on."""


@dataclass(eq=False)
class LiveTrack:
    """A face that is followed."""

    filter: BoxFilter
    first_s: float
    last_s: float
    """Of the last detection."""
    score: float | None
    number: int = 0
    """Of the face among all that were ever detected, from 0 on; those that are never born have one, too."""
    id: int = 0
    """From 1 on; 0 until the track is born."""
    detections: int = 1
    detected: bool = True
    """False if the present frame does not show it and the box is predicted."""

    @property
    def box(self) -> Box:
        """Return the box in the present frame."""
        return self.filter.box


@dataclass(frozen=True)
class TrackChanges:
    """Tracks that were born and lost at a frame."""

    born: list[LiveTrack] = field(default_factory=list)
    lost: list[tuple[LiveTrack, Loss]] = field(default_factory=list)


class LiveTracker:
    """Finds and follows the faces of one source. It belongs to one thread, and so does its detector meanwhile.

    Trackers of several sources that have one detector in common have a lock in common, too: ``detecting``.
    """

    def __init__(
        self,
        detector: FaceDetector,
        times: TrackTimes | None = None,
        intervals: SearchIntervals | None = None,
        *,
        detecting: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._search = FaceSearch(detector, intervals, detecting or nullcontext())
        self._times = times or TrackTimes()
        self._all: list[LiveTrack] = []
        self._now_s: float | None = None
        self._size: tuple[int, ...] | None = None
        self._ids = self._numbers = 0

    @property
    def followed(self) -> list[LiveTrack]:
        """Return every track, those that are not born yet too, in the order of their first detections."""
        return list(self._all)

    @property
    def tracks(self) -> list[LiveTrack]:
        """Return the tracks that are born, in the order of their ids."""
        return sorted((track for track in self._all if track.id), key=lambda track: track.id)

    def step(self, frame: Image, now_s: float) -> TrackChanges:
        """Follow the faces into ``frame`` (uint8 RGB [H, W, 3]), at ``now_s`` seconds, which never run back."""
        changes = TrackChanges()
        if self._size not in (None, frame.shape[:2]):
            changes = self.drop_all("resized")
        self._size = frame.shape[:2]
        passed_s = 0.0 if self._now_s is None else max(now_s - self._now_s, 0.0)
        self._now_s = now_s
        self._end_old(now_s, changes)
        for track in self._all:
            track.filter.predict(passed_s)
        self._match(*self._detected(frame, now_s), now_s, changes)
        self._end_outside(frame, changes)
        return changes

    def bear_rest(self) -> list[LiveTrack]:
        """Bear the faces of the last frame for which the source ended too early; return them."""
        rest = [track for track in self._all if not track.id and track.detected]
        for track in rest:
            self._ids += 1
            track.id = self._ids
        return rest

    def state(self) -> dict[str, Any]:
        """Return everything that later frames depend on, as JSON values; `restore` takes it back."""
        tracks = [
            [
                *(track.number, track.id, track.first_s, track.last_s),
                *(
                    None if track.score is None else float(track.score),
                    track.detections,
                    track.detected,
                    track.filter.state(),
                ),
            ]
            for track in self._all
        ]
        size = None if self._size is None else list(self._size)
        seconds = {"now": self._now_s, "searched": self._search.last_s}
        return {"tracks": tracks, "ids": self._ids, "numbers": self._numbers, "size": size, **seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a tracker with the same detector and times had this state."""
        self._all = [
            LiveTrack(BoxFilter.from_state(box), first_s, last_s, score, number, own_id, detections, detected)
            for number, own_id, first_s, last_s, score, detections, detected, box in state["tracks"]
        ]
        self._ids, self._numbers = state["ids"], state["numbers"]
        self._size = None if state["size"] is None else tuple(state["size"])
        self._now_s, self._search.last_s = state["now"], state["searched"]

    def drop_all(self, reason: Loss) -> TrackChanges:
        """Lose every track: the next faces are new ones."""
        lost = [(track, reason) for track in self.tracks]
        self._all, self._size = [], None
        self._search.forget()
        return TrackChanges(lost=lost)

    def _detected(self, frame: Image, now_s: float) -> tuple[list[DetectedFace], dict[int, int]]:
        """Search around the tracks, and everywhere where that is due or one of them has just been missed.

        Return the faces, and the index of a track's face by that of the track.
        """
        intervals = self._search.intervals
        coasting = any(not track.detected for track in self._all)
        usual_s = intervals.empty_s if not self._all else intervals.missed_s if coasting else intervals.tracked_s
        if self._search.is_due(now_s, usual_s):
            return self._assigned(self._search.whole(frame, now_s))
        faces, matched = self._assigned(self._search.around(frame, [track.box for track in self._all]))
        missed = any(track.detected and row not in matched for row, track in enumerate(self._all))
        return self._assigned(self._search.whole(frame, now_s)) if missed else (faces, matched)

    def _assigned(self, faces: list[DetectedFace]) -> tuple[list[DetectedFace], dict[int, int]]:
        return faces, assigned([track.box for track in self._all], [face.box for face in faces])

    def _match(
        self, faces: Sequence[DetectedFace], matched: Mapping[int, int], now_s: float, changes: TrackChanges
    ) -> None:
        for row, track in enumerate(self._all):
            track.detected = row in matched
            if track.detected:
                face = faces[matched[row]]
                track.filter.update(face.box)
                track.last_s, track.score, track.detections = now_s, face.score, track.detections + 1
                self._bear(track, now_s, changes)
        known = set(matched.values())
        new = [face for index, face in enumerate(faces) if index not in known]
        self._all += [
            LiveTrack(BoxFilter(face.box), now_s, now_s, face.score, self._numbers + place)
            for place, face in enumerate(new)
        ]
        self._numbers += len(new)

    def _bear(self, track: LiveTrack, now_s: float, changes: TrackChanges) -> None:
        if not track.id and now_s - track.first_s >= self._times.birth_s - 1e-6:
            self._ids += 1
            track.id = self._ids
            changes.born.append(track)

    def _end_old(self, now_s: float, changes: TrackChanges) -> None:
        kept = []
        for track in self._all:
            missed_s = self._times.coast_s if track.id else self._times.chance_s
            # A source of a frame a second misses nobody in between.
            limit_s = self._times.gap_s if track.detected else missed_s
            if now_s - track.last_s <= limit_s:
                kept.append(track)
            elif track.id:
                changes.lost.append((track, "missed"))
        self._all = kept

    def _end_outside(self, frame: Image, changes: TrackChanges) -> None:
        height, width = frame.shape[:2]
        outside = [track for track in self._all if not track.detected and not _is_inside(track.box, width, height)]
        changes.lost.extend((track, "left") for track in outside if track.id)
        self._all = [track for track in self._all if track not in outside]


def _is_inside(box: Box, width: int, height: int) -> bool:
    return 0 <= (box[0] + box[2]) / 2 < width and 0 <= (box[1] + box[3]) / 2 < height
