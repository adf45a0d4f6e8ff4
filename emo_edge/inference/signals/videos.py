"""The heart rates of the faces in a video, window by window, in constant memory. Not a medical device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.signals.followed_faces import FaceFollower, FollowedFace
from emo_edge.inference.signals.heart_rate import STEP_S, WINDOW_S, HeartRate, PulseWindow, heart_rate
from emo_edge.inference.signals.projections import checked_method
from emo_edge.inference.signals.refusals import LEAST_SECONDS
from emo_edge.media.videos import TimedFrame, sampled_frames

SEARCHED_EVERY_S = 0.1
"""Between two searches for faces; the boxes are followed in between."""
FACES = ("largest", "all")
SAME_TIME_S = 1e-6
"""Time stamps round."""


def pulse(
    source: str | Path | int,
    detector: FaceDetector,
    *,
    method: str = "pos",
    faces: str = "largest",
    progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[PulseWindow]:
    """Yield the heart rate of each window of 10 s of a video, a second after each other.

    Args:
        source: a video file, a camera or a stream, as `emo_edge.stream` takes it.
        detector: what `open_detector` returns; it searches ten times a second, and each face is followed in between.
        method: "pos", "chrom" or "green".
        faces: "largest", the one that is largest when it appears, or "all".
        progress: gets the seconds read, once a second of the video.

    A video of 8 to 10 s is one window. One that shows no face for 8 s gives one window that is not reliable and has a
    reason. Raises InputError at the call for other arguments, and while reading what `emo_edge.stream` reports.
    Not a medical device.
    """
    checked_method(method)
    if faces not in FACES:
        raise InputError(f'`faces` is "largest" or "all", not {faces!r}')
    return pulse_of_frames(sampled_frames(source), detector, method=method, faces=faces, progress=progress)


def pulse_of_frames(
    frames: Iterable[TimedFrame],
    detector: FaceDetector,
    *,
    method: str = "pos",
    faces: str = "largest",
    progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[PulseWindow]:
    """Yield the heart rates of frames that come one after the other, as `pulse` does for a source."""
    reading = _Reading(detector, method, everyone=faces == "all")
    second = -1
    for frame in frames:
        yield from reading.add(frame)
        if int(frame.elapsed_s) != second:
            second = int(frame.elapsed_s)
            progress(frame.elapsed_s)
    yield from reading.end()


class _Reading:
    """The faces of a video as it is read."""

    def __init__(self, detector: FaceDetector, method: str, *, everyone: bool) -> None:
        self._detector, self._method, self._everyone = detector, method, everyone
        self._follower = FaceFollower()
        self._main: FollowedFace | None = None
        self._before: TimedFrame | None = None
        self._searched_s = float("-inf")
        self._longest: PulseWindow | None = None
        """Of the faces that were too short for a window."""
        self._yielded = False

    def add(self, frame: TimedFrame) -> Iterator[PulseWindow]:
        """Read a frame; yield the windows that end with it."""
        if self._before is not None and frame.segment != self._before.segment:
            yield from self._close()
        step = frame.elapsed_s - self._before.elapsed_s if self._before else 0.0
        self._before = frame
        if frame.elapsed_s >= self._searched_s + SEARCHED_EVERY_S - SAME_TIME_S:
            self._searched_s = frame.elapsed_s
            self._follower.search(self._detector.detect(frame.image), frame.elapsed_s)
            for face in self._follower.forget(frame.elapsed_s):
                yield from self._rest(face)
        for face in self._measured():
            yield from self._due(face, frame.elapsed_s)
            face.read(frame.image, frame.elapsed_s, step)

    def end(self) -> Iterator[PulseWindow]:
        """Yield the windows that the end completes, or the reason why there is none."""
        yield from self._close()
        if not self._yielded:
            yield self._longest or self._without_a_face()

    def _measured(self) -> list[FollowedFace]:
        """Return the faces whose skin is read."""
        if self._everyone:
            return self._follower.faces
        if self._main not in self._follower.faces:
            self._main = self._follower.largest()
        return [self._main] if self._main else []

    def _due(self, face: FollowedFace, now_s: float) -> Iterator[PulseWindow]:
        """Yield the windows that a frame at ``now_s`` is the first one after."""
        while face.rows and now_s >= face.begun_s + face.windows * STEP_S + WINDOW_S - SAME_TIME_S:
            start = face.begun_s + face.windows * STEP_S
            yield self._window(face, start, start + WINDOW_S)

    def _close(self) -> Iterator[PulseWindow]:
        for face in self._follower.faces:
            yield from self._rest(face)
        self._follower, self._main = FaceFollower(self._follower.count), None
        self._searched_s = float("-inf")

    def _rest(self, face: FollowedFace) -> Iterator[PulseWindow]:
        """Yield the last window of a face that ends; of one that was there for less than a window that of the whole."""
        if not face.rows:
            return
        step = (face.rows[-1][0] - face.rows[0][0]) / max(len(face.rows) - 1, 1)
        end = face.rows[-1][0] + step
        start = face.begun_s + face.windows * STEP_S
        if end >= start + WINDOW_S - step / 2:
            yield self._window(face, start, start + WINDOW_S)
        elif not face.windows and end - face.begun_s >= LEAST_SECONDS - SAME_TIME_S:
            yield self._window(face, face.begun_s, end)
        elif not face.windows:
            short = PulseWindow(face.number, face.begun_s, end, heart_rate(face.trace(), method=self._method))
            if self._longest is None or end - face.begun_s > self._longest.end_s - self._longest.start_s:
                self._longest = short

    def _window(self, face: FollowedFace, start_s: float, end_s: float) -> PulseWindow:
        face.windows += 1
        self._yielded = True
        part = face.trace().part(start_s - SAME_TIME_S, end_s - SAME_TIME_S)
        return PulseWindow(face.number, start_s, end_s, heart_rate(part, method=self._method))

    def _without_a_face(self) -> PulseWindow:
        end = self._before.elapsed_s if self._before else 0.0
        reason = "no face is detected"
        return PulseWindow(0, 0.0, end, HeartRate(None, None, None, False, reason, end, 0.0, self._method))
