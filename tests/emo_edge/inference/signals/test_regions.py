"""Skin of a frame: polygons against pixels counted by hand, and the pixels that are left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.inference.signals.regions import inner_box, polygon_mask, skin_colour, skin_polygons
from emo_edge.inference.signals.traces import skin_trace

SKIN = (180, 130, 100)


def frame(colour: tuple[int, int, int] = SKIN, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


def face_points(size: float = 40.0) -> np.ndarray:
    """Return a face whose jaw is a half circle, with eyes and mouth as small hexagons."""
    points = np.zeros((68, 2))
    angles = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([np.cos(angles), np.sin(angles)], 1)
    points[17:27] = np.stack([np.linspace(-0.8, 0.8, 10), np.full(10, -0.3)], 1)
    ring = np.linspace(0, 2 * np.pi, 7)[:-1]
    for start, x, y in ((36, -0.4, 0.0), (42, 0.4, 0.0)):
        points[start : start + 6] = np.stack([x + 0.15 * np.cos(ring), y + 0.1 * np.sin(ring)], 1)
    ring = np.linspace(0, 2 * np.pi, 13)[:-1]
    points[48:60] = np.stack([0.3 * np.cos(ring), 0.6 + 0.12 * np.sin(ring)], 1)
    return np.asarray(size / 2 + points * size * 0.4)


def test_the_inner_box_is_the_middle_of_the_face() -> None:
    assert inner_box((10, 20, 110, 120)) == pytest.approx((30, 30, 90, 110))


def test_a_triangle_holds_the_pixels_counted_by_hand() -> None:
    mask = polygon_mask(6, 6, np.array([[0.5, 0.5], [4.5, 0.5], [0.5, 4.5]]))
    by_hand = np.array([[x >= 1 and y >= 1 and x + y < 5 for x in range(6)] for y in range(6)])
    np.testing.assert_array_equal(mask, by_hand)


@pytest.mark.parametrize("seed", range(4))
def test_polygons_are_those_of_opencv(seed: int) -> None:
    angles = np.sort(np.random.default_rng(seed).uniform(0, 2 * np.pi, 12))
    points = np.round(40 + 30 * np.stack([np.cos(angles), np.sin(angles)], 1)) + 0.5
    ours = polygon_mask(80, 80, points)
    theirs = np.array(
        [[cv2.pointPolygonTest(points.astype(np.float32), (x, y), False) > 0 for x in range(80)] for y in range(80)]
    )
    assert (ours != theirs).mean() < 0.001


def test_eyes_and_mouth_are_no_skin() -> None:
    picture = frame(size=120)
    points = face_points(120)
    for hole in (points[36:42], points[42:48], points[48:60]):
        cv2.fillPoly(picture, [np.round(hole).astype(np.int32)], (60, 200, 240))
    np.testing.assert_allclose(skin_colour(picture, landmarks=points), SKIN)
    assert skin_colour(picture, box=(12, 12, 108, 108))[1] > SKIN[1] + 1
    assert len(skin_polygons(points)[1]) == 3


def test_dark_and_saturated_pixels_are_left_out() -> None:
    picture = frame()
    picture[:20, :, :] = (9, 15, 4)
    picture[20:24, :, 0] = 250
    np.testing.assert_allclose(skin_colour(picture, box=(0, 0, 40, 40)), SKIN)
    assert np.isnan(skin_colour(frame((255, 200, 180)), box=(0, 0, 40, 40))).all()


def test_a_face_outside_the_frame_has_no_colour() -> None:
    assert np.isnan(skin_colour(frame(), box=(50, 50, 90, 90))).all()
    np.testing.assert_allclose(skin_colour(frame(), box=(-30, -30, 30, 30)), SKIN)


def test_unusable_regions_are_errors() -> None:
    with pytest.raises(InputError, match="give one of them"):
        skin_colour(frame())
    with pytest.raises(InputError, match="x1 > x0"):
        skin_colour(frame(), box=(5, 5, 5, 9))
    with pytest.raises(InputError, match="68 finite points"):
        skin_colour(frame(), landmarks=np.zeros((5, 2)))


def test_a_trace_is_a_colour_a_frame() -> None:
    frames = [frame((180, 130 + row, 100)) for row in range(3)]
    trace = skin_trace(frames, [0.0, 0.1, 0.2], boxes=[(0, 0, 40, 40), None, (0, 0, 40, 40)])
    np.testing.assert_allclose(trace.colours[[0, 2]], [(180, 130, 100), (180, 132, 100)])
    assert trace.lost.tolist() == [False, True, False] and not trace.unsure.any()
    both = skin_trace(
        frames, [0.0, 0.1, 0.2], landmarks=[face_points(), None, None], boxes=[None, (0, 0, 40, 40), None]
    )
    assert both.lost.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "inside landmarks or boxes"),
        ({"boxes": [None]}, "more frames than boxes"),
        ({"boxes": [None] * 3}, "2 frames need as many boxes"),
        ({"boxes": [None] * 2, "times": [0.0]}, "2 frames need as many times"),
    ],
)
def test_numbers_that_differ_are_errors(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        skin_trace([frame()] * 2, **({"times": [0.0, 0.1]} | arguments))
