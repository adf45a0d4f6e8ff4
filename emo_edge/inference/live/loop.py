"""From the newest frame to events: follow the faces, read those whose labels are the oldest, say how old all is.

No frame waits in a queue. Readings run in a thread: the loop waits for one that fits into the age of the frame, and
goes on with older labels where it does not fit.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from emo_edge.bundle.sections import LiveLabels
from emo_edge.errors import EmoEdgeError
from emo_edge.faces.live.tracker import LiveTrack, LiveTracker, TrackChanges
from emo_edge.inference.live.events import (
    ExpressionEvent,
    FrameEvent,
    LiveEvent,
    LiveFace,
    MicroExpressionEvent,
    PulseEvent,
    SourceEvent,
    TrackEvent,
)
from emo_edge.inference.live.fast_movements import FastMovement
from emo_edge.inference.live.micro_expressions import LiveMicroExpressions
from emo_edge.inference.live.pulse import LivePulse
from emo_edge.inference.live.reading_thread import Reader, ReadingJob
from emo_edge.inference.live.schedule import FaceReadings, ReadingCost
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.live.signatures import UNCHANGED, Signature, signature
from emo_edge.inference.live.smoothing import ExpressionChange, LabelSmoothing
from emo_edge.inference.results import EmotionResult
from emo_edge.media.live.capture import LiveFrame, StateChange
from emo_edge.media.live.clock import Clock

LOOK_S = 0.05
"""Between two looks at a source that gives no frame: for a stall, and for a reading that ends."""


class Capture(Protocol):
    """The part of `LiveCapture` that the loop uses."""

    name: str
    changes: list[StateChange]
    over: bool
    error: EmoEdgeError | None

    @property
    def is_every_frame(self) -> bool:
        """True for a file of which no frame is skipped."""

    def poll(self) -> LiveFrame | None:
        """Return the newest frame."""

    def wait(self, seconds: float) -> None:
        """Wait for one."""

    def dropped(self) -> dict[str, int]:
        """Return the frames that were never returned, by reason."""

    def close(self) -> None:
        """Close the source."""


class LiveLoop:
    """One source, one tracker and one reader; `events` runs them until the source is over or the time is up."""

    def __init__(
        self,
        capture: Capture,
        tracker: LiveTracker,
        reader: Reader,
        settings: LiveSettings,
        clock: Clock,
        fitted: LiveLabels | None = None,
    ) -> None:
        """Begin; ``fitted`` are the bundle's settings of live labels, where it has some."""
        self._capture, self._tracker, self._reader, self._settings = capture, tracker, reader, settings
        self._clock, self._start_s = clock, clock.now()
        fitted = fitted or LiveLabels()
        self._readings = FaceReadings(reuse=settings.reuse, unchanged=fitted.unchanged or UNCHANGED)
        self._smoothing, self._cost = LabelSmoothing(fitted.smoothing), ReadingCost()
        self._pulse = LivePulse() if settings.pulse else None
        self._micro = LiveMicroExpressions() if settings.micro_expressions else None
        self._movements: list[tuple[int, FastMovement]] = []
        """Since the event before, by track."""
        self._expressions: list[tuple[int, ExpressionChange]] = []
        """Since the event before, by track."""
        self._stopped = threading.Event()
        self._dropped: dict[str, int] = {}
        """Up to the event before."""
        self._time_s = 0.0
        self._first_s: float | None = None
        """Time of the first frame, of a file."""

    def events(self) -> Generator[LiveEvent, None, None]:
        """Yield the events as they happen; raise the error of a source that was lost, after the event that says so."""
        leave, self._start_s = False, self._clock.now()
        try:
            while not self._is_up() and not self._stopped.is_set():
                frame = self._capture.poll()
                yield from self._source_events()
                if frame is not None:
                    yield from self._frame_events(frame)
                elif self._capture.over:
                    if self._capture.error is not None:
                        raise self._capture.error
                    return
                else:
                    self._capture.wait(LOOK_S)
        except KeyboardInterrupt:
            # A reading of a large model takes seconds, and Ctrl-C must not.
            leave = True
            raise
        finally:
            self._capture.close()
            self._reader.close(leave=leave)

    def stop(self) -> None:
        """Ask it to end soon, from any thread."""
        self._stopped.set()

    def _is_up(self) -> bool:
        limit_s = self._settings.duration_s
        if limit_s is None:
            return False
        if self._capture.is_every_frame:
            return self._first_s is not None and self._time_s - self._first_s >= limit_s
        return self._clock.now() - self._start_s >= limit_s

    def _source_events(self) -> Iterator[LiveEvent]:
        changes, self._capture.changes = self._capture.changes, []
        for change in changes:
            # The source may have been opened before the loop began.
            at_s = max(change.at_s - self._start_s, 0.0)
            if change.state == "lost":
                yield from self._track_events(self._tracker.drop_all("source"))
            yield SourceEvent(self._capture.name, change.state, change.reason, at_s)

    def _frame_events(self, frame: LiveFrame) -> Iterator[LiveEvent]:
        self._time_s = frame.seconds
        self._first_s = frame.seconds if self._first_s is None else self._first_s
        started = self._clock.now()
        changes = self._tracker.step(frame.image, frame.seconds)
        tracked = self._clock.now()
        yield from self._track_events(changes)
        looks = self._signatures(frame)
        unchanged = {track.id for track, look in looks if self._readings.is_unchanged(track, look, frame.image)}
        reading_ms = self._read(frame, [(track, look) for track, look in looks if track.id not in unchanged])
        self._smooth_unchanged(unchanged, frame.seconds)
        ended = self._clock.now()
        stages = {"track": 1000 * (tracked - started), "label": 1000 * (ended - tracked)}
        yield self._frame_event(frame, unchanged, stages, reading_ms, ended)
        yield from self._expression_events()
        yield from self._pulse_events(frame)

    def _track_events(self, changes: TrackChanges) -> Iterator[LiveEvent]:
        name = self._capture.name
        for track, reason in changes.lost:
            self._readings.drop(track.id)
            if self._pulse is not None:
                self._pulse.drop(track.id)
            self._expressions += [(track.id, change) for change in self._smoothing.drop(track.id)]
            if self._micro is not None:
                self._movements += [(track.id, one) for one in self._micro.drop(track.id)]
            yield from self._expression_events()
            yield TrackEvent(name, "lost", track.id, self._time_s, track.box, reason)
        for track in changes.born:
            yield TrackEvent(name, "born", track.id, self._time_s, track.box, None)

    def _expression_events(self) -> Iterator[LiveEvent]:
        changes, self._expressions = self._expressions, []
        for number, one in changes:
            yield ExpressionEvent(self._capture.name, one.change, number, one.label, one.seconds, one.probability)
        movements, self._movements = self._movements, []
        for number, movement in movements:
            yield MicroExpressionEvent(self._capture.name, number, movement)

    def _pulse_events(self, frame: LiveFrame) -> Iterator[LiveEvent]:
        """Read the skin after the frame's event, whose age it does not touch."""
        if self._pulse is None:
            return
        for one in self._pulse.add(frame.image, frame.seconds, self._tracker.tracks):
            yield PulseEvent(self._capture.name, one.face, one.start_s, one.end_s, one.heart_rate)

    def _smooth_unchanged(self, unchanged: set[int], seconds: float) -> None:
        """Count the readings of unchanged faces again: they still hold."""
        for track in self._tracker.tracks:
            newest = self._readings.of(track)
            if track.id in unchanged and newest is not None:
                self._follow(track.id, newest.result, seconds)

    def _follow(self, number: int, result: EmotionResult, seconds: float) -> None:
        """Smooth the labels of a reading, and look for movements in its action units."""
        changes = self._smoothing.add(number, result.probabilities, seconds)
        self._expressions += [(number, change) for change in changes]
        if self._micro is not None:
            movements = self._micro.add(number, result.action_units, seconds)
            self._movements += [(number, movement) for movement in movements]

    def _signatures(self, frame: LiveFrame) -> list[tuple[LiveTrack, Signature]]:
        """Return the faces that the frame shows, each with its small picture."""
        visible = [track for track in self._tracker.tracks if track.detected]
        looks = [(track, signature(frame.image, track.box)) for track in visible]
        return [(track, look) for track, look in looks if look is not None]

    def _read(self, frame: LiveFrame, changed: Sequence[tuple[LiveTrack, Signature]]) -> dict[str, float]:
        """Begin to read changed faces, and wait for those that fit into the frame's age; return the stages' times."""
        stages = self._collect(self._clock.now())
        if self._reader.is_busy or not changed:
            return stages
        looks = {track.id: look for track, look in changed}
        waiting = self._readings.least_recent_first([track for track, _ in changed])
        deadline_s, number = self._plan(frame, len(waiting))
        chosen = waiting[: max(number, 1)]
        boxes = tuple(track.box for track in chosen)
        ids = tuple(track.id for track in chosen)
        self._reader.start(
            ReadingJob(frame.image, ids, boxes, tuple(looks[number] for number in ids), frame.captured_s, frame.seconds)
        )
        # A reading that cannot end in time is not waited for: the boxes of this frame are worth more now.
        return self._collect(deadline_s) or stages if number else stages

    def _plan(self, frame: LiveFrame, faces: int) -> tuple[float | None, int]:
        """Return the clock's time until which a reading may take, and the number of faces that fit."""
        if self._capture.is_every_frame:
            return None, faces
        deadline_s = frame.captured_s + self._settings.max_age_s
        return deadline_s, self._cost.faces_within(deadline_s - self._clock.now())

    def _collect(self, until_s: float | None) -> dict[str, float]:
        done = self._reader.collect(until_s)
        if done is None:
            return {}
        self._cost.add(done)
        alive = {track.id for track in self._tracker.tracks}
        self._readings.store(done, alive)
        for number, result in zip(done.job.ids, done.results, strict=True):
            if number in alive:
                self._follow(number, result, done.job.seconds)
        return dict(done.results[0].stage_ms) if done.results else {}

    def _frame_event(
        self,
        frame: LiveFrame,
        unchanged: set[int],
        stages: dict[str, float],
        reading_ms: dict[str, float],
        now: float,
    ) -> FrameEvent:
        dropped, before = self._capture.dropped(), self._dropped
        self._dropped = dropped
        return FrameEvent(
            source=self._capture.name,
            index=frame.index,
            segment=frame.segment,
            time_s=frame.seconds,
            age_ms=1000 * max(now - frame.captured_s, 0.0),
            faces=tuple(self._face(track, track.id in unchanged, now) for track in self._tracker.tracks),
            stage_ms=stages,
            reading_ms=reading_ms,
            dropped={reason: count - before.get(reason, 0) for reason, count in dropped.items()},
            image=frame.image,
        )

    def _face(self, track: LiveTrack, unchanged: bool, now: float) -> LiveFace:
        newest = self._readings.of(track)
        if newest is None:
            return LiveFace(track.id, track.box, track.detected, None, None, reused=False)
        age_ms = 1000 * max(now - newest.captured_s, 0.0)
        smoothed = self._smoothing.of(track.id)
        return LiveFace(track.id, track.box, track.detected, newest.result, age_ms, unchanged, smoothed)
