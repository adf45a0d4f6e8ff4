"""Faces that need no new reading: those that look the same, also where a detector's box trembles about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emo_edge.faces.live.box_filter import BoxFilter
from emo_edge.faces.live.tracker import LiveTrack
from emo_edge.inference.live.reading_thread import ReadingDone, ReadingJob
from emo_edge.inference.live.schedule import FaceReadings
from emo_edge.inference.live.signatures import Signature, signature
from emo_edge.media.crops import Box

READ: Box = (60.0, 50.0, 140.0, 150.0)


def picture(seed: int) -> Any:
    """Draw coarse noise: a box that is a few pixels off shows something else."""
    cells = np.random.default_rng(seed).integers(0, 255, (25, 25, 3), np.uint8)
    return np.kron(cells, np.ones((8, 8, 1), np.uint8))


def track(box: Box) -> LiveTrack:
    return LiveTrack(BoxFilter(box), 0.0, 0.0, None, id=1)


def look(frame: Any, box: Box) -> Signature:
    found = signature(frame, box)
    assert found is not None
    return found


@pytest.fixture
def frame() -> Any:
    return picture(1)


def read_once(frame: Any, *, reuse: bool = True) -> FaceReadings:
    readings = FaceReadings(reuse=reuse)
    job = ReadingJob(frame, (1,), (READ,), (look(frame, READ),), 0.0)
    readings.store(ReadingDone(job, [None], 0.1), [1])  # type: ignore[list-item]
    return readings


def unchanged(readings: FaceReadings, frame: Any, box: Box) -> bool:
    return readings.is_unchanged(track(box), look(frame, box), frame)


def test_a_box_that_trembles_about_a_still_face(frame: Any) -> None:
    trembling = (64.0, 46.0, 143.0, 152.0)
    assert np.abs(look(frame, trembling) - look(frame, READ)).mean() > 10, "the box alone would say: changed"
    assert unchanged(read_once(frame), frame, trembling)


def test_a_face_that_moves_as_it_is(frame: Any) -> None:
    moved = np.roll(frame, 16, axis=1)
    assert unchanged(read_once(frame), moved, (76.0, 50.0, 156.0, 150.0))


@pytest.mark.parametrize("box", [READ, (64.0, 46.0, 143.0, 152.0)])
def test_another_expression(frame: Any, box: Box) -> None:
    assert not unchanged(read_once(frame), picture(2), box)


def test_a_face_that_left_its_place_and_changed(frame: Any) -> None:
    assert not unchanged(read_once(frame), np.roll(picture(2), 16, axis=1), (76.0, 50.0, 156.0, 150.0))


def test_a_frame_that_does_not_hold_the_place_any_more(frame: Any) -> None:
    small = picture(3)[:40, :40]
    assert not unchanged(read_once(frame), small, (5.0, 5.0, 35.0, 35.0))


def test_every_face_is_read_where_nothing_is_reused(frame: Any) -> None:
    assert not unchanged(read_once(frame, reuse=False), frame, READ)


def test_a_face_that_was_never_read(frame: Any) -> None:
    assert not unchanged(FaceReadings(), frame, READ)
