"""Heart rates of followed faces: a number where the frames allow it, else a reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from emo_edge.faces.live.box_filter import BoxFilter
from emo_edge.faces.live.tracker import LiveTrack
from emo_edge.inference.live.pulse import LivePulse
from emo_edge.inference.signals.heart_rate import PulseWindow
from emo_edge.media.crops import Box

SKIN, STRENGTH, HZ = np.array([180.0, 130.0, 110.0]), np.array([0.33, 0.77, 0.53]) * 0.02, 1.2
LEFT: Box = (10.0, 10.0, 50.0, 60.0)
RIGHT: Box = (60.0, 10.0, 100.0, 60.0)
NOISE = np.random.default_rng(0).normal(0, 1, (70, 110, 3))


def track(number: int, box: Box) -> LiveTrack:
    return LiveTrack(BoxFilter(box), 0.0, 0.0, 0.9, number, number)


def windows(times: Sequence[float], *tracks: LiveTrack) -> list[PulseWindow]:
    pulse, given = LivePulse(), list[PulseWindow]()
    for seconds in times:
        # Noise, so that rounding does not hide the pulse in the mean.
        frame = SKIN * (1 + STRENGTH * np.sin(2 * np.pi * HZ * seconds)) + NOISE
        given += pulse.add(frame.round().astype(np.uint8), seconds, tracks)
    return given


def test_a_face_has_a_heart_rate_once_a_second_after_ten() -> None:
    given = windows(np.arange(0, 12.05, 1 / 30).tolist(), track(3, LEFT))
    assert [(one.face, one.start_s, one.end_s) for one in given] == [(3, 0, 10), (3, 1, 11), (3, 2, 12)]
    assert all(one.heart_rate.reliable for one in given)
    assert [one.heart_rate.bpm for one in given] == pytest.approx([60 * HZ] * 3, abs=1)


@pytest.mark.parametrize(
    ("times", "boxes", "reason"),
    [
        (np.arange(0, 10.2, 1 / 10), [LEFT], "frames a second are too few"),
        (np.r_[np.arange(0, 4, 1 / 30), np.arange(5, 10.1, 1 / 30)], [LEFT], "s without a frame"),
        (np.arange(0, 10.1, 1 / 30), [LEFT, (30.0, 10.0, 70.0, 60.0)], "another face came so near"),
    ],
)
def test_without_what_a_pulse_needs_there_is_a_reason(times: Sequence[float], boxes: list[Box], reason: str) -> None:
    first = windows([float(one) for one in times], *(track(number, box) for number, box in enumerate(boxes, 1)))[0]
    assert first.heart_rate.bpm is None and not first.heart_rate.reliable and reason in str(first.heart_rate.reason)


def test_faces_have_windows_of_their_own_and_a_pause_gives_one_alone() -> None:
    pulse, both = LivePulse(), [track(1, LEFT), track(2, RIGHT)]
    frame = np.full((70, 110, 3), SKIN.astype(np.uint8))
    assert not pulse.add(frame, 0.0, both) and not pulse.add(frame, 9.9, both)
    assert [(one.face, one.end_s) for one in pulse.add(frame, 14.5, both)] == [(1, 14), (2, 14)]
    pulse.drop(1)
    assert [(one.face, one.end_s) for one in pulse.add(frame, 15.5, both)] == [(2, 15)]
