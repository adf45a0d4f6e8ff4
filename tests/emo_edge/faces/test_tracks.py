"""Faces followed through a clip: one reading is of one person."""

from __future__ import annotations

import pytest

from emo_edge.faces.detector import DetectedFace
from emo_edge.faces.tracks import face_tracks, faces_of_clip, followed

Frames = list[list[DetectedFace]]


def face(x: float, side: float = 100.0, y: float = 0.0) -> DetectedFace:
    return DetectedFace((x, y, x + side, y + side), None)


def test_two_people_whose_sizes_change_stay_two() -> None:
    """The largest of each frame is now one of them, now the other."""
    frames: Frames = [[face(5 * i, 100 + 8 * (i % 2)), face(300, 110 - 8 * (i % 2))] for i in range(6)]
    frames = [sorted(faces, key=lambda one: -one.box[2] + one.box[0]) for faces in frames]
    first, second = faces_of_clip(frames)
    assert [frame for frame, _ in first] == [frame for frame, _ in second] == list(range(6))
    assert {one.box[0] for _, one in first} == {300}, "the larger one of the first frame"
    assert max(one.box[0] for _, one in second) == 25


def test_a_frame_without_faces_takes_the_nearest_box_and_one_with_others_is_left_out() -> None:
    frames: Frames = [[face(0)], [], [face(400)], [face(10), face(400)], []]
    (first, second) = faces_of_clip(frames)
    assert [(frame, one.box[0]) for frame, one in first] == [(0, 0), (1, 0), (3, 10), (4, 10)]
    assert [(frame, one.box[0]) for frame, one in second] == [(1, 400), (2, 400), (3, 400), (4, 400)]


def test_a_cut_to_another_person_ends_the_track() -> None:
    frames: Frames = [[face(0)], [face(10)], [face(300)], [face(310)]]
    assert [[frame for frame, _ in track] for track in faces_of_clip(frames)] == [[0, 1], [2, 3]]


def test_a_chance_detection_in_the_first_frame_is_not_the_main_face() -> None:
    frames: Frames = [[face(500, 200), face(0)], *([face(0)] for _ in range(5))]
    assert [len(track.faces) for track in face_tracks(frames)] == [6, 1]


def test_no_face_is_no_track() -> None:
    assert faces_of_clip([[], []]) == face_tracks([]) == []


@pytest.mark.parametrize(("x", "side"), [(81, 100), (0, 210), (0, 40)])
def test_what_is_too_far_or_of_another_size_is_another_face(x: float, side: float) -> None:
    assert followed([face(0).box], [face(x, side)]) == [None]


def test_pairs_are_matched_by_the_best_overlap_and_no_face_twice() -> None:
    near, far = face(10), face(60)
    assert followed([face(0).box, face(50).box], [far, near]) == [near, far]
    assert followed([face(0).box, face(20).box], [near]) == [near, None]
    assert followed([], [near]) == []
