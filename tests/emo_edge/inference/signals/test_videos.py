"""Heart rates of frames as a video brings them: windows, faces that come, go, cross and swap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.signals.videos import pulse, pulse_of_frames
from emo_edge.media.crops import Box
from emo_edge.media.videos import TimedFrame

SKINS = np.array([[180.0, 130.0, 100.0], [140.0, 110.0, 95.0]])
BLOOD = np.array([0.33, 0.77, 0.53])
RATES = (66.0, 96.0)
LEFT, RIGHT = (0.0, 0.0, 16.0, 16.0), (24.0, 0.0, 40.0, 16.0)
DITHER = np.random.default_rng(5).random((16, 40, 1))
"""Grey levels are whole numbers: the pulse is in their mean."""


class Script:
    """A detector that gives the boxes of a script, by the time of the frame that it is shown."""

    name = "script"

    def __init__(self, boxes: Callable[[float], Sequence[Box]]) -> None:
        self.boxes, self.now, self.searches = boxes, 0.0, 0

    def detect(self, frame: np.ndarray) -> list[DetectedFace]:
        self.searches += 1
        return [DetectedFace(box, 1.0) for box in self.boxes(self.now)]


def frames(
    detector: object, seconds: float = 10.0, *, swap_s: float = 1e9, jump_s: float = 1e9, rates: Sequence[float] = RATES
) -> Iterator[TimedFrame]:
    """Yield two skins side by side, each with its own pulse; they swap places, or time jumps, at a second."""
    for index in range(round(seconds * 30)):
        time_s = index / 30
        picture = np.empty((16, 40, 3))
        for column, row in ((0, 0), (20, 1)):
            who = 1 - row if time_s >= swap_s else row
            beat = np.sin(2 * np.pi * rates[who] / 60 * time_s)
            picture[:, column : column + 20] = SKINS[who] * (1 - 0.02 * beat * BLOOD)
        if isinstance(detector, Script):
            detector.now = time_s
        yield TimedFrame((picture + DITHER).astype(np.uint8), index, time_s, int(time_s >= jump_s), time_s)


def both(_: float) -> list[Box]:
    return [LEFT, RIGHT]


def test_every_window_of_the_largest_face() -> None:
    detector = Script(lambda now: [LEFT])
    seconds: list[float] = []
    windows = list(pulse_of_frames(frames(detector, 12), detector, progress=seconds.append))
    assert seconds == pytest.approx(range(12))
    assert [(round(one.start_s, 3), round(one.end_s, 3)) for one in windows] == [(0, 10), (1, 11), (2, 12)]
    assert all(one.heart_rate.bpm == pytest.approx(66, abs=0.3) for one in windows)
    assert {one.heart_rate.seconds for one in windows} == {10.0}
    assert detector.searches == 120


def test_each_of_all_faces_has_its_own_rate() -> None:
    detector = Script(both)
    windows = list(pulse_of_frames(frames(detector, 10), detector, faces="all"))
    assert [one.face for one in windows] == [0, 1]
    assert [one.heart_rate.bpm for one in windows] == pytest.approx(RATES, abs=0.3)


def test_two_faces_that_swap_at_once_are_refused_by_their_colour() -> None:
    detector = Script(both)
    reasons = [one.heart_rate.reason for one in pulse_of_frames(frames(detector, 10, swap_s=5), detector, faces="all")]
    assert len(reasons) == 2 and all("another face, or a cut" in str(reason) for reason in reasons)


def test_two_faces_that_cross_are_refused_by_their_boxes() -> None:
    def crossing(now: float) -> list[Box]:
        x = min(max(now - 4, 0), 1) * 24
        return [(x, 0.0, x + 16, 16.0), (24 - x, 0.0, 40 - x, 16.0)]

    detector = Script(crossing)
    windows = list(pulse_of_frames(frames(detector, 10), detector, faces="all"))
    assert windows and not any(one.heart_rate.reliable for one in windows)
    assert "changed places" in str(windows[0].heart_rate.reason)


def test_a_face_that_is_lost_for_long_is_refused() -> None:
    detector = Script(lambda now: [] if 4 <= now < 6.5 else [LEFT])
    (window,) = pulse_of_frames(frames(detector), detector)
    assert window.heart_rate.reason == "the face is lost in 25% of the frames: at most 20% are allowed"


def test_a_face_that_is_lost_for_a_moment_keeps_its_rate() -> None:
    detector = Script(lambda now: [] if 4 <= now < 4.5 else [LEFT])
    (window,) = pulse_of_frames(frames(detector), detector)
    assert window.heart_rate.bpm == pytest.approx(66, abs=0.5)


def test_another_place_is_another_face() -> None:
    detector = Script(lambda now: [LEFT] if now < 8.5 else [RIGHT])
    windows = list(pulse_of_frames(frames(detector, 18.5), detector, faces="all"))
    assert [one.face for one in windows] == [0] * 9 + [1]
    assert windows[0].heart_rate.bpm == pytest.approx(66, abs=0.5)
    assert "lost in 25%" in str(windows[1].heart_rate.reason)
    assert windows[-1].heart_rate.bpm == pytest.approx(96, abs=0.3)


def test_a_jump_of_the_time_stamps_begins_anew() -> None:
    detector = Script(lambda now: [LEFT])
    windows = list(pulse_of_frames(frames(detector, 17, jump_s=8.5), detector))
    assert [(one.face, round(one.start_s, 3), round(one.end_s, 3)) for one in windows] == [(0, 0, 8.5), (1, 8.5, 17)]
    assert all(one.heart_rate.bpm == pytest.approx(66, abs=0.3) for one in windows)


@pytest.mark.parametrize(
    ("seconds", "boxes", "reason"),
    [
        (7.9, lambda now: [LEFT], "7.9 s are too short: at least 8 s are needed"),
        (9.0, lambda now: [LEFT] if now < 0.5 else [], "the face is lost in "),
        (3.0, lambda now: [], "no face is detected"),
        (0.0, lambda now: [], "no face is detected"),
    ],
)
def test_a_video_without_a_window_has_one_reason(
    seconds: float, boxes: Callable[[float], Sequence[Box]], reason: str
) -> None:
    detector = Script(boxes)
    (window,) = pulse_of_frames(frames(detector, seconds), detector)
    assert not window.heart_rate.reliable and str(window.heart_rate.reason).startswith(reason)


def test_a_slow_video_is_refused() -> None:
    slow = (TimedFrame(one.image, row, row / 10, 0, row / 10) for row, one in enumerate(frames(None, 4)))
    windows = list(pulse_of_frames(slow, WholeImage()))
    assert {one.heart_rate.reason for one in windows} == {"10.0 frames a second are too few: at least 15 are needed"}


def test_memory_holds_one_window() -> None:
    detector = Script(lambda now: [LEFT])
    from emo_edge.inference.signals.videos import _Reading

    reading = _Reading(detector, "pos", everyone=False)
    for frame in frames(detector, 14):
        list(reading.add(frame))
    assert len(reading._follower.faces[0].rows) <= 11 * 30 + 1


def test_arguments_that_are_none_are_errors_at_the_call() -> None:
    for options, message in (({"faces": "both"}, '"largest" or "all"'), ({"method": "ica"}, "choose from pos")):
        with pytest.raises(InputError, match=message):
            pulse("clip.mp4", WholeImage(), **options)
