"""The loop on a simulated clock: ages stay bounded however long a reading takes, faces are read in turn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import emo_edge
from emo_edge.bundle.sections import LabelFilter, LiveLabels
from emo_edge.errors import DeviceError, EmoEdgeError
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.live.events import (
    ExpressionEvent,
    FrameEvent,
    LiveEvent,
    MicroExpressionEvent,
    PulseEvent,
    SourceEvent,
    TrackEvent,
)
from emo_edge.inference.live.loop import LiveLoop
from emo_edge.inference.live.reading_thread import ReadingDone, ReadingJob
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.results import EmotionResult, Settings
from emo_edge.media.live.capture import LiveFrame, StateChange
from tests.fake_sources import FakeClock
from tests.scenes import SquareDetector, drawn, greys_of

SCHEMA = json.loads((Path(emo_edge.__file__).parent / "schemas" / "live-event-1.json").read_text(encoding="utf-8"))
Scene = Callable[[float], Mapping[int, tuple[float, float]]]
SETTINGS = Settings("b", "p", {}, "cpu", "squares", ("dark", "light"), "?", False, 1.0, False, "", "0")
RESULT = EmotionResult((0, 0, 1, 1), None, 1, {"dark": 0.25, "light": 0.75}, None, {}, {"vision": 2.0}, SETTINGS)


class SimulatedCapture:
    """A camera of so many frames a second by the clock; it keeps the newest frame alone."""

    name, is_every_frame, error = "0", False, None

    def __init__(self, clock: FakeClock, scene: Scene, seconds: float, fps: float = 30) -> None:
        self.changes = [StateChange("opening", "", clock.now()), StateChange("playing", "", clock.now())]
        self.over = self.closed = False
        self._clock, self._scene, self._fps, self._frames = clock, scene, fps, round(seconds * fps)
        self._start, self._next, self._overtaken = clock.now(), 0, 0

    def poll(self) -> LiveFrame | None:
        newest = min(int((self._clock.now() - self._start) * self._fps + 1e-6), self._frames - 1)
        if newest < self._next:
            self.over = self._next >= self._frames
            return None
        self._overtaken += newest - self._next
        self._next = newest + 1
        seconds = newest / self._fps
        return LiveFrame(drawn(self._scene(seconds)), newest, 0, seconds, self._start + seconds)

    def wait(self, seconds: float) -> None:
        self._clock.seconds += max(self._start + self._next / self._fps - self._clock.now(), 0.001)

    def dropped(self) -> dict[str, int]:
        return {"overtaken": self._overtaken, "damaged": 0}

    def close(self) -> None:
        self.closed = True


class EveryFrame(SimulatedCapture):
    """A file of which no frame is skipped."""

    is_every_frame = True

    def poll(self) -> LiveFrame | None:
        if self._next >= self._frames:
            self.over = True
            return None
        self._next += 1
        seconds = (self._next - 1) / self._fps
        return LiveFrame(drawn(self._scene(seconds)), self._next - 1, 0, seconds, self._clock.now())


class SimulatedReader:
    """Readings that take so many seconds a face by the clock."""

    def __init__(self, clock: FakeClock, face_s: float, error: Exception | None = None) -> None:
        self._clock, self._face_s, self._error = clock, face_s, error
        self._job: ReadingJob | None = None
        self._end_s, self.closed = 0.0, False
        self.read: list[int] = []

    @property
    def is_busy(self) -> bool:
        return self._job is not None

    def start(self, job: ReadingJob) -> None:
        assert self._job is None
        self._job, self._end_s = job, self._clock.now() + self._face_s * len(job.ids)
        self.read += greys_of(job.image, job.boxes)

    def collect(self, until_s: float | None) -> ReadingDone | None:
        if self._job is None:
            return None
        until_s = self._end_s if until_s is None else until_s
        self._clock.seconds = max(self._clock.seconds, min(until_s, self._end_s))
        if self._clock.now() < self._end_s:
            return None
        if self._error:
            raise self._error
        job, self._job = self._job, None
        return ReadingDone(job, [RESULT] * len(job.ids), self._face_s * len(job.ids))

    def close(self, *, leave: bool = False) -> None:
        self.closed = True


class SlowDetector(SquareDetector):
    """A detector whose every call takes some milliseconds of the clock."""

    def __init__(self, clock: FakeClock, call_s: float = 0.005) -> None:
        super().__init__()
        self._clock, self._call_s = clock, call_s

    def detect(self, frame: Any) -> Any:
        self._clock.seconds += self._call_s
        return super().detect(frame)


def moving(count: int) -> Scene:
    """Return a scene of faces that never stop changing: each goes through thirteen greys."""

    def scene(t: float) -> Mapping[int, tuple[float, float]]:
        return {60 + 30 * n + 2 * (round(t * 30) % 13): (40 + 75 * n, 80) for n in range(count)}

    return scene


def run(
    scene: Scene,
    seconds: float,
    face_s: float,
    *,
    fps: float = 30,
    capture: type[SimulatedCapture] = SimulatedCapture,
    **settings: Any,
) -> tuple[list[LiveEvent], SimulatedReader]:
    clock = FakeClock()
    source, reader = capture(clock, scene, seconds, fps), SimulatedReader(clock, face_s)
    loop = LiveLoop(source, LiveTracker(SlowDetector(clock)), reader, LiveSettings(**settings), clock)
    events = list(loop.events())
    assert source.closed and reader.closed
    return events, reader


def frames_of(events: list[LiveEvent]) -> list[FrameEvent]:
    return [event for event in events if isinstance(event, FrameEvent)]


def ages(events: list[LiveEvent]) -> Any:
    return np.array([event.age_ms for event in frames_of(events)])


def test_a_fast_model_labels_every_frame_that_changes() -> None:
    events, _ = run(moving(1), 3, 0.010)
    frames = frames_of(events)
    assert len(frames) == 90 and ages(events).max() < 40
    assert all(face.label_age_ms == event.age_ms for event in frames[5:] for face in event.faces)
    assert not any(event.dropped["overtaken"] for event in frames)
    assert all(event.reading_ms == {"vision": 2.0} for event in frames[5:])


def test_the_age_stays_bounded_for_a_minute_of_readings_of_half_a_second() -> None:
    events, reader = run(moving(1), 60, 0.5, fps=10)
    measured = ages(events)
    assert np.percentile(measured, 99) <= 3 * np.percentile(measured, 50)
    assert measured.max() <= 500 + 40
    assert len(frames_of(events)) > 0.9 * 60 * 10, "boxes go on while a reading is under way"
    assert 100 <= len(reader.read) <= 125
    labelled = [face.label_age_ms for event in frames_of(events)[20:] for face in event.faces]
    assert max(filter(None, labelled)) <= 1100, "the newest label is at most two readings old"


def test_overload_skips_frames_and_never_grows_a_queue() -> None:
    events, _ = run(moving(4), 10, 0.1)
    frames = frames_of(events)
    assert ages(events).max() <= 540
    assert sum(event.dropped["overtaken"] for event in frames) + len(frames) == 300


def test_faces_are_read_in_turn_when_not_all_fit() -> None:
    events, reader = run(moving(4), 10, 0.2)
    counts = Counter((grey - 60) // 30 for grey in reader.read)
    assert set(counts) == {0, 1, 2, 3} and max(counts.values()) - min(counts.values()) <= 2
    assert ages(events).max() <= 540


def test_an_unchanged_face_is_read_once_and_says_so() -> None:
    events, reader = run(lambda t: {100: (80, 80)}, 2, 0.01)
    frames = frames_of(events)
    assert reader.read == [100]
    (last,) = frames[-1].faces
    assert last.reused and last.label == "light" and last.label_age_ms is not None and last.label_age_ms > 1500
    again, reader = run(lambda t: {100: (80, 80)}, 2, 0.01, reuse=False)
    assert len(reader.read) > 50 and not any(face.reused for event in frames_of(again) for face in event.faces)


def test_the_same_frames_give_the_same_events_twice() -> None:
    first, second = ([event.to_dict() for event in run(moving(3), 2, 0.05, capture=EveryFrame)[0]] for _ in range(2))
    assert first == second and len(first) > 60
    assert all(len(event["faces"]) == 3 for event in first[-5:] if event["kind"] == "frame")


def test_a_file_has_every_face_of_every_frame_read() -> None:
    events, reader = run(moving(2), 2, 0.3, capture=EveryFrame)
    born = frames_of(events)[4:]
    assert len(frames_of(events)) == 60 and len(reader.read) >= 2 * len(born)
    assert all(face.label is not None for event in born for face in event.faces)


def test_a_duration_ends_a_camera_by_the_clock_and_a_file_by_its_stamps() -> None:
    events, _ = run(moving(1), 60, 0.01, duration_s=2.0)
    assert frames_of(events)[-1].time_s == pytest.approx(2.0, abs=0.05)
    events, _ = run(moving(1), 60, 3.0, duration_s=1.0, capture=EveryFrame)
    assert frames_of(events)[-1].time_s == pytest.approx(1.0, abs=0.05)


def test_tracks_are_born_and_lost_with_events_in_order() -> None:
    events, _ = run(lambda t: {100: (80, 80)} if t < 1 else {}, 3, 0.01)
    states = [event for event in events if isinstance(event, SourceEvent)]
    tracks = [event for event in events if isinstance(event, TrackEvent)]
    assert [event.state for event in states] == ["opening", "playing"]
    assert [(event.change, event.id, event.reason) for event in tracks] == [("born", 1, None), ("lost", 1, "missed")]
    assert frames_of(events)[-1].faces == ()


class Resized(SimulatedCapture):
    """A camera whose picture is larger from its second second on."""

    def poll(self) -> LiveFrame | None:
        frame = super().poll()
        if frame is None or frame.seconds < 1:
            return frame
        return replace(frame, image=np.pad(frame.image, ((0, 60), (0, 80), (0, 0))))


def test_another_resolution_ends_the_tracks_and_goes_on() -> None:
    events, _ = run(moving(1), 3, 0.01, capture=Resized)
    tracks = [event for event in events if isinstance(event, TrackEvent)]
    assert [(event.change, event.id, event.reason) for event in tracks] == [
        ("born", 1, None),
        ("lost", 1, "resized"),
        ("born", 2, None),
    ]
    sizes = [event.to_dict()["size"] for event in frames_of(events)]
    assert sizes[-1] == [sizes[0][0] + 80, sizes[0][1] + 60] and frames_of(events)[-1].faces[0].label == "light"


FITTED = LiveLabels(smoothing=LabelFilter(method="hidden_markov", tau_s=1.0, alpha=1.0), unchanged=0.5)


def test_fitted_settings_smooth_the_labels_and_name_expressions() -> None:
    clock = FakeClock()
    source, reader = SimulatedCapture(clock, lambda t: moving(1)(t) if t < 1 else {}, 3), SimulatedReader(clock, 0.01)
    loop = LiveLoop(source, LiveTracker(SlowDetector(clock)), reader, LiveSettings(), clock, FITTED)
    events = list(loop.events())
    faces = [face for event in frames_of(events) for face in event.faces if face.smoothed]
    assert faces[0].smoothed == pytest.approx(RESULT.probabilities, abs=1e-6)
    assert faces[-1].smoothed["light"] > 0.9 and faces[-1].probabilities == RESULT.probabilities
    moments = [event for event in events if isinstance(event, ExpressionEvent)]
    assert [(event.change, event.id, event.label) for event in moments] == [
        ("onset", 1, "light"),
        ("apex", 1, "light"),
        ("offset", 1, "light"),
    ]
    lost = next(index for index, event in enumerate(events) if isinstance(event, TrackEvent) and event.change == "lost")
    assert events[lost - 1] is moments[-1] and moments[-1].time_s == pytest.approx(1.0, abs=0.1)


def test_a_pulse_is_an_event_of_the_schema_and_grey_pictures_have_none() -> None:
    scene: Scene = lambda t: {60 + round(2 * np.sin(7 * t)): (60, 80)}  # noqa: E731
    events, _ = run(scene, 11.2, 0.01, capture=EveryFrame, pulse=True)
    pulses = [event for event in events if isinstance(event, PulseEvent)]
    assert [(one.id, round(one.end_s - one.start_s)) for one in pulses] == [(1, 10), (1, 10)]
    for one in pulses:
        jsonschema.validate(one.to_dict(), SCHEMA)
        assert one.heart_rate.bpm is None and "grey" in str(one.heart_rate.reason)
        assert one.to_dict()["notice"] == "Not a medical device."
    before = events[events.index(pulses[0]) - 1]
    assert isinstance(before, FrameEvent) and before.time_s == pytest.approx(pulses[0].end_s, abs=1 / 30)
    assert not [event for event in run(scene, 11.2, 0.01, capture=EveryFrame)[0] if isinstance(event, PulseEvent)]


class TwitchingReader(SimulatedReader):
    """Readings of a face whose AU12 rises and falls within 0.3 s after two seconds."""

    def collect(self, until_s: float | None) -> ReadingDone | None:
        done = super().collect(until_s)
        if done is None:
            return None
        value = 0.3 + float(np.interp(done.job.seconds, [2.0, 2.15, 2.3], [0.0, 1.5, 0.0]))
        result = replace(
            RESULT, action_units={"AU12": UnitReading(0.5, True, value), "AU4": UnitReading(0.1, False, 0.2)}
        )
        return replace(done, results=[result] * len(done.results))


def test_a_micro_expression_is_an_event_of_the_schema_where_it_is_asked_for() -> None:
    assert not [event for event in twitching(asked=False) if isinstance(event, MicroExpressionEvent)]
    (event,) = [event for event in twitching(asked=True) if isinstance(event, MicroExpressionEvent)]
    document = event.to_dict()
    jsonschema.validate(document, SCHEMA)
    assert list(document["action_units"]) == ["AU12"] and document["id"] == 1
    moments = [document[name] for name in ("onset_s", "apex_s", "offset_s")]
    assert moments == pytest.approx([2.0, 2.15, 2.3], abs=0.07)


def twitching(*, asked: bool) -> list[LiveEvent]:
    clock = FakeClock()
    source, reader = EveryFrame(clock, moving(1), 3.0), TwitchingReader(clock, 0.01)
    settings = LiveSettings(micro_expressions=asked)
    return list(LiveLoop(source, LiveTracker(SlowDetector(clock)), reader, settings, clock).events())


def test_a_loop_that_is_stopped_ends_with_all_closed() -> None:
    clock = FakeClock()
    source, reader = SimulatedCapture(clock, moving(1), 60), SimulatedReader(clock, 0.01)
    loop = LiveLoop(source, LiveTracker(SlowDetector(clock)), reader, LiveSettings(), clock)
    events = loop.events()
    next(events)
    loop.stop()
    assert len(frames_of(list(events))) == 1, "the one under way"
    assert source.closed and reader.closed


def test_a_face_that_is_hidden_keeps_its_label_and_is_not_read() -> None:
    events, _ = run(lambda t: {} if 1 < t < 1.5 else {100: (80, 80)}, 1.4, 0.01)
    (face,) = frames_of(events)[-1].faces
    assert not face.detected and not face.reused and face.label == "light"


class Lost(SimulatedCapture):
    """A camera that is lost after its frames."""

    error: EmoEdgeError | None = None  # type: ignore[assignment]

    def poll(self) -> LiveFrame | None:
        frame = super().poll()
        if self.over and self.error is None:
            self.error = DeviceError("camera 0 stopped")
            self.changes.append(StateChange("lost", "camera 0 stopped", self._clock.now()))
        return frame


def test_a_lost_source_loses_its_tracks_says_so_and_raises() -> None:
    clock = FakeClock()
    source, reader = Lost(clock, moving(1), 1), SimulatedReader(clock, 0.01)
    loop = LiveLoop(source, LiveTracker(SlowDetector(clock)), reader, LiveSettings(), clock)
    events: list[LiveEvent] = []
    with pytest.raises(DeviceError, match="camera 0 stopped"):
        events.extend(loop.events())
    assert source.closed and reader.closed


def test_the_events_before_a_loss_are_given() -> None:
    clock = FakeClock()
    loop = LiveLoop(
        Lost(clock, moving(1), 1), LiveTracker(SlowDetector(clock)), SimulatedReader(clock, 0.01), LiveSettings(), clock
    )
    last = until_error(loop.events())[-2:]
    assert isinstance(last[0], TrackEvent) and last[0].reason == "source"
    assert isinstance(last[1], SourceEvent) and (last[1].state, last[1].reason) == ("lost", "camera 0 stopped")


def until_error(events: Iterator[LiveEvent]) -> list[LiveEvent]:
    given = []
    try:
        for event in events:
            given.append(event)
    except DeviceError:
        return given
    raise AssertionError("no error came")


def test_an_error_of_a_reading_ends_it() -> None:
    clock = FakeClock()
    reader = SimulatedReader(clock, 0.01, DeviceError("out of memory"))
    source = SimulatedCapture(clock, moving(1), 3)
    loop = LiveLoop(source, LiveTracker(SlowDetector(clock)), reader, LiveSettings(), clock)
    with pytest.raises(DeviceError, match="out of memory"):
        list(loop.events())
    assert source.closed and reader.closed


def test_a_cold_reading_is_no_measure() -> None:
    from emo_edge.inference.live.schedule import ReadingCost

    job = ReadingJob(drawn({}), (1,), ((0, 0, 1, 1),), (np.zeros((48, 48), np.int16),), 0.0)
    cost = ReadingCost()
    cost.add(ReadingDone(job, [replace(RESULT, cold=True)], 9.0))
    assert cost.faces_within(0.1) == 1
    cost.add(ReadingDone(job, [RESULT], 0.02))
    assert cost.faces_within(0.1) == 5
