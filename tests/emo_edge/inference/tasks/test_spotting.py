"""A movement spotted in frames: the face that lasts, the frames' own numbers, the record, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, FaceDetector
from emo_edge.inference.tasks.moments import Moments
from emo_edge.inference.tasks.spotting import clearest_movement, spotted_movement, unit_curve
from emo_edge.media.crops import Box, Image
from emo_edge.media.videos import TimedFrame

FPS = 30.0
LIT = range(31, 40)
"""Frames in which the movement rises and falls, its apex in the middle."""


class Corners(FaceDetector):
    """Finds a face wherever a corner of the frame is lit: a lasting one on the left, a short one on the right."""

    name = "corners"

    def detect(self, image: Image) -> list[DetectedFace]:
        """Return the faces."""
        places = ((0, (10.0, 10.0, 60.0, 60.0)), (-1, (100.0, 10.0, 150.0, 60.0)))
        return [DetectedFace(box, 0.9) for corner, box in places if image[0, corner, 0]]


def film(count: int = 75, *, hidden: Sequence[int] = (), right: Sequence[int] = ()) -> Iterator[TimedFrame]:
    """Yield frames whose middle holds the strength of the movement."""
    noise = np.random.default_rng(1)
    for number in range(count):
        image = np.zeros((80, 160, 3), np.uint8)
        image[0, 0] = 0 if number in hidden else 255
        image[0, -1] = 255 if number in right else 0
        strength = 0 if number not in LIT else 90 - 20 * abs(number - 35)
        image[40, 80] = max(0, 20 + strength + int(noise.integers(-2, 3)))
        yield TimedFrame(image, number, number / FPS, 0, number / FPS)


def units(frames: Sequence[Image], boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return two units of the left face that rise, and one that stays."""
    lit = np.array([frame[40, 80, 0] / 50 for frame in frames])
    left = np.array([box[0] < 80 for box in boxes])
    return np.stack([np.where(left, lit, 0), np.where(left, lit, 0), 0 * lit], axis=1)


def test_frames_are_those_of_the_video() -> None:
    curve = unit_curve(film(hidden=range(8), right=range(10)), Corners(), units)
    assert curve.frames == tuple(range(8, 75)) and curve.values.shape == (67, 3)
    movement = clearest_movement(curve)
    assert movement is not None and movement.moments.apex == 35
    assert movement.moments.onset in range(27, 34) and movement.moments.offset in range(37, 44)
    assert movement.seconds == pytest.approx((movement.moments.onset / FPS, movement.moments.offset / FPS))
    assert movement.rises[0] > 1 and movement.rises[2] == pytest.approx(0)
    call = movement.tool_call().to_dict()
    assert call["name"] == "spot_movement" and call["arguments"] == {"method": "triangles"}
    assert Moments(*(call["result"][name] for name in ("onset", "apex", "offset"))) == movement.moments


def test_a_face_at_rest_has_no_movement() -> None:
    still = [TimedFrame(next(film()).image, number, number / FPS, 0, number / FPS) for number in range(60)]
    assert clearest_movement(unit_curve(still, Corners(), units)) is None


def test_no_face_is_one_error() -> None:
    with pytest.raises(InputError, match="no face is detected"):
        unit_curve(film(20, hidden=range(20)), Corners(), units)


def test_what_is_no_video_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"a\.mp4"):
        spotted_movement(tmp_path / "a.mp4", Corners(), units)
