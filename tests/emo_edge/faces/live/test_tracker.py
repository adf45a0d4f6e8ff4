"""Tracks through crossings, exits and occlusions of drawn scenes: ids stay with their faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from emo_edge.faces.detector import DetectedFace
from emo_edge.faces.haar import MIN_FACE, HaarDetector
from emo_edge.faces.limits import FaceLimits, LimitedDetector
from emo_edge.faces.live.assignment import assigned
from emo_edge.faces.live.box_filter import BoxFilter
from emo_edge.faces.live.search import CUT_OUT_SIDE, HAAR_SIDE, LEAST_FACE
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.faces.registry import FixedBox
from tests.scenes import HEIGHT, SIDE, WIDTH, SquareDetector, drawn, greys_of

FPS = 30
Scene = Callable[[float], Mapping[int, tuple[float, float]]]


class Followed:
    """A scene that was followed: the ids of each grey, the numbers of tracks, births and losses."""

    def __init__(self, scene: Scene, seconds: float, *, fps: float = FPS, noise: float = 0.03) -> None:
        self.detector = SquareDetector(noise)
        self.tracker = LiveTracker(self.detector)
        self.ids: dict[int, set[int]] = {}
        self.events: list[tuple[str, int, float, str]] = []
        self.frames = round(seconds * fps)
        for index in range(self.frames):
            now_s = index / fps
            frame = drawn(scene(now_s))
            changes = self.tracker.step(frame, now_s)
            self.events += [("born", track.id, now_s, "") for track in changes.born]
            self.events += [("lost", track.id, now_s, reason) for track, reason in changes.lost]
            visible = [track for track in self.tracker.tracks if track.detected]
            for grey, track in zip(greys_of(frame, [track.box for track in visible]), visible, strict=True):
                self.ids.setdefault(grey, set()).add(track.id)


def test_faces_that_stay_keep_their_ids_and_the_whole_frame_is_searched_once_a_second() -> None:
    followed = Followed(lambda t: {100: (80 + 20 * np.sin(t), 80), 200: (240, 80 + 20 * np.sin(2 * t))}, 3)
    assert followed.ids == {100: {1}, 200: {2}} or followed.ids == {100: {2}, 200: {1}}
    assert [event[0] for event in followed.events] == ["born", "born"]
    assert followed.detector.whole <= 4
    assert followed.detector.pixels < 0.25 * followed.frames * WIDTH * HEIGHT


def test_two_faces_that_cross_keep_their_ids() -> None:
    followed = Followed(lambda t: {100: (60 + 60 * t, 80), 200: (260 - 60 * t, 84)}, 3.3)
    assert sorted(map(sorted, followed.ids.values())) == [[1], [2]]
    assert [event[0] for event in followed.events] == ["born", "born"]


def test_half_a_second_behind_something_keeps_the_id() -> None:
    def scene(t: float) -> Mapping[int, tuple[float, float]]:
        return {} if 1.0 <= t < 1.5 else {100: (80 + 40 * t, 80)}

    followed = Followed(scene, 3)
    assert followed.ids == {100: {1}} and [event[0] for event in followed.events] == ["born"]


def test_whoever_leaves_is_lost_and_comes_back_as_another_track() -> None:
    def scene(t: float) -> Mapping[int, tuple[float, float]]:
        return {100: (300 + 120 * t if t < 1 else 420 - 120 * (t - 1), 80)} if t < 3 else {100: (180, 80)}

    followed = Followed(scene, 4)
    assert [(kind, number) for kind, number, _, _ in followed.events] == [("born", 1), ("lost", 1), ("born", 2)]
    assert followed.events[1][3] in ("left", "missed")


def test_a_face_that_is_gone_is_lost_after_a_second() -> None:
    followed = Followed(lambda t: {100: (80, 80)} if t < 1 else {}, 3)
    (_, _, _, _), (kind, number, at_s, reason) = followed.events
    assert (kind, number, reason) == ("lost", 1, "missed") and at_s == pytest.approx(2.0, abs=0.05)


def test_a_chance_detection_is_no_track() -> None:
    followed = Followed(lambda t: {100: (80, 80)} if t < 0.05 else {}, 1)
    assert followed.events == [] and followed.tracker.tracks == []


def test_a_frame_a_second_is_followed_too() -> None:
    followed = Followed(lambda t: {100: (80 + 2 * t, 80)}, 8, fps=1)
    assert followed.ids == {100: {1}} and [event[2] for event in followed.events] == [1.0]


def test_another_size_of_the_frame_ends_every_track() -> None:
    followed = Followed(lambda t: {100: (80, 80)}, 1)
    changes = followed.tracker.step(np.zeros((90, 120, 3), np.uint8), 1.1)
    assert [(track.id, reason) for track, reason in changes.lost] == [(1, "resized")]


def test_a_long_gap_between_frames_ends_every_track() -> None:
    followed = Followed(lambda t: {100: (80, 80)}, 1)
    changes = followed.tracker.step(drawn({100: (80, 80)}), 9.0)
    assert [(track.id, reason) for track, reason in changes.lost] == [(1, "missed")]


def test_fifty_faces_are_followed() -> None:
    numbers = np.random.default_rng(3)
    boxes = [(x, y, x + 20.0, y + 24.0) for x in range(0, 500, 50) for y in range(0, 250, 50)]

    class Many:
        name = "many"

        def detect(self, frame: object) -> list[DetectedFace]:
            order = numbers.permutation(len(boxes))
            return [DetectedFace(boxes[index], 0.9) for index in order]

    tracker, frame = LiveTracker(LimitedDetector(Many(), FaceLimits())), np.zeros((300, 600, 3), np.uint8)
    tracker._search._only_whole = True
    for index in range(10):
        tracker.step(frame, index / FPS)
    assert [track.id for track in tracker.tracks] == list(range(1, 51))
    places = {track.id: track.box for track in tracker.tracks}
    tracker.step(frame, 10 / FPS)
    for track in tracker.tracks:
        assert np.allclose(track.box, places[track.id], atol=1.0)


def test_limits_hold_of_the_frame_not_of_a_cut_out() -> None:
    small = LimitedDetector(SquareDetector(), FaceLimits(min_face=0.5))
    large = LimitedDetector(SquareDetector(), FaceLimits(min_face=0.2, max_faces=1))
    frame = drawn({100: (80, 80), 200: (240, 80)})
    for detector, count in ((small, 0), (large, 1)):
        tracker = LiveTracker(detector)
        for index in range(6):
            tracker.step(frame, index / FPS)
        assert len(tracker.tracks) == count


def test_a_given_box_is_one_track() -> None:
    tracker = LiveTracker(FixedBox((10, 10, 50, 60)))
    for index in range(6):
        tracker.step(drawn({}), index / FPS)
    (track,) = tracker.tracks
    assert track.box == pytest.approx((10, 10, 50, 60))


def test_a_filter_predicts_a_constant_velocity() -> None:
    filter = BoxFilter((0, 0, SIDE, SIDE))
    for index in range(1, 31):
        filter.predict(1 / FPS)
        filter.update((2.0 * index, 0, 2.0 * index + SIDE, SIDE))
    filter.predict(0.5)
    assert filter.box == pytest.approx((90, 0, 90 + SIDE, SIDE), abs=2.0)


def test_the_best_pairs_come_first() -> None:
    ones = [(0.0, 0.0, 10.0, 10.0), (8.0, 0.0, 18.0, 10.0)]
    assert assigned(ones, [(7.0, 0.0, 17.0, 10.0), (1.0, 0.0, 11.0, 10.0)]) == {0: 1, 1: 0}
    assert assigned(ones, []) == {} and assigned([], ones) == {}
    assert assigned(ones[:1], [(100.0, 0.0, 110.0, 10.0)]) == {}
    assert assigned(ones[:1], [(0.0, 0.0, 30.0, 30.0)]) == {}, "another size"


def test_haar_searches_cut_outs_for_large_faces_alone() -> None:
    detector = HaarDetector()
    tracker = LiveTracker(detector)
    near = tracker._search._near
    assert isinstance(near, HaarDetector) and near._min_face == LEAST_FACE and detector._min_face == MIN_FACE
    assert near._frontal is detector._frontal
    assert tracker._search._side == HAAR_SIDE < LiveTracker(SquareDetector())._search._side == CUT_OUT_SIDE
