"""Face geometry: every action unit moves what it should, poses turn the way they say."""

import numpy as np
import pytest

from emo_edge.benchmarks.synthetic.expression import AU_INDEX
from emo_edge.benchmarks.synthetic.geometry import (
    MIRROR,
    FaceShape,
    View,
    expressed_landmarks,
    neutral_landmarks,
    rotation_matrix,
    smooth_curve,
)
from emo_edge.taxonomy import ACTION_UNITS

SHAPE = FaceShape()
NEUTRAL = expressed_landmarks(SHAPE, np.zeros((17, 2), np.float32))


def _shift(unit):
    units = np.zeros((17, 2), np.float32)
    units[AU_INDEX[unit]] = 1.0
    return expressed_landmarks(SHAPE, units) - NEUTRAL


def _thickness(points):
    return points[57, 1] - points[66, 1] + points[62, 1] - points[51, 1]


@pytest.mark.parametrize(
    ("unit", "point", "axis", "sign"),
    [
        (1, 21, 1, -1),
        (2, 18, 1, -1),
        (4, 21, 1, 1),
        (4, 21, 0, 1),
        (5, 37, 1, -1),
        (6, 41, 1, -1),
        (7, 37, 1, 1),
        (7, 40, 1, -1),
        (9, 31, 1, -1),
        (10, 50, 1, -1),
        (12, 48, 1, -1),
        (12, 48, 0, -1),
        (14, 48, 0, -1),
        (15, 48, 1, 1),
        (17, 57, 1, -1),
        (20, 48, 0, -1),
        (23, 48, 0, 1),
        (25, 66, 1, 1),
        (26, 8, 1, 1),
    ],
)
def test_action_unit_moves_its_landmark(unit, point, axis, sign):
    shift = _shift(unit)
    assert shift[point, axis] * sign > 0.02
    mirrored = -1 if axis == 0 else 1
    assert shift[MIRROR[point], axis] == pytest.approx(shift[point, axis] * mirrored)


@pytest.mark.parametrize("unit", [23, 24])
def test_lip_units_thin_the_lips(unit):
    assert _thickness(NEUTRAL + _shift(unit)) < 0.7 * _thickness(NEUTRAL)


def test_every_action_unit_moves_something():
    assert all(np.abs(_shift(unit)).max() > 0.02 for unit in ACTION_UNITS)


def test_neutral_face_is_symmetric_and_in_ibug_order():
    points = neutral_landmarks(SHAPE)
    np.testing.assert_allclose(points[MIRROR], points * (-1, 1), atol=1e-12)
    assert points[36, 0] < points[39, 0] < points[42, 0] < points[45, 0]
    assert points[19, 1] < points[37, 1] < points[33, 1] < points[51, 1] < points[57, 1] < points[8, 1]


def test_a_blink_closes_the_lids_and_units_never_cross_them():
    units = np.ones((17, 2), np.float32)
    for blink, bound in ((0.0, 0.02), (1.0, 0.0)):
        points = expressed_landmarks(SHAPE, units, blink)
        assert (points[[41, 40, 47, 46], 1] - points[[37, 38, 43, 44], 1]).min() > bound
        assert (points[[67, 66, 65], 1] - points[[61, 62, 63], 1]).min() > 0
    assert (points[41, 1] - points[37, 1]) < 0.03


@pytest.mark.parametrize(("pose", "axis"), [((0.3, 0, 0), 1), ((0, 0.3, 0), 0)])
def test_pose_signs(pose, axis):
    view = View(SHAPE, rotation_matrix(*pose), 50.0, np.zeros(2))
    nose, temple = view.on_face(np.array([[0.0, 0.5], [0.0, -0.6]]))
    front = View(SHAPE, np.eye(3), 50.0, np.zeros(2)).on_face(np.array([0.0, 0.5]))
    expected = 1 if axis == 0 else -1
    assert (nose - front)[axis] * expected > 5
    assert np.isfinite(temple).all()


def test_roll_is_clockwise_in_the_image():
    up = rotation_matrix(0, 0, 0.3) @ np.array([0.0, -1.0, 0.0])
    assert up[0] > 0


def test_smooth_curve_passes_through_its_points():
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [4.0, 4.0]])
    np.testing.assert_allclose(smooth_curve(points, 4)[::4], points)
    np.testing.assert_allclose(smooth_curve(points, 4, closed=True)[::4], points)
