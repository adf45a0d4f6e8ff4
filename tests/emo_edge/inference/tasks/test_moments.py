"""Onset, apex and offset: what is an order, and the three frames of a video."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.errors import InputError, TaskError
from emo_edge.inference.tasks.moments import Moments, moment_frames, moments
from tests.made_videos import index_of, write


def test_three_numbers_are_one_movement() -> None:
    assert moments("3", "5", "9") == Moments(3, 5, 9)
    assert moments("0", "0", "1") == Moments(0, 0, 1)
    assert moments(None, None, None) is None


@pytest.mark.parametrize(
    ("onset", "apex", "offset", "problem"),
    [
        ("3", "2", "9", "`onset` 3, `apex` 2 and `offset` 9 are no movement"),
        ("3", "10", "9", "are no movement"),
        ("-1", "2", "9", "are no movement"),
        ("4", "4", "4", "are no movement"),
        ("3", "/", "9", "`apex` / means that nobody annotated it"),
        ("3", "x", "9", "`apex` is the number of a frame, not 'x'"),
        ("3", None, "9", "go together: `apex` is missing"),
    ],
)
def test_what_is_no_movement_is_a_usage_error(onset: str, apex: str, offset: str, problem: str) -> None:
    with pytest.raises(TaskError) as error:
        moments(onset, apex, offset)
    assert problem in str(error.value)


def test_the_frames_are_those_of_the_numbers(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    write(video, [index / 30 for index in range(12)])
    chosen = moment_frames(video, Moments(1, 4, 9))
    assert [frame.index for frame in chosen] == [1, 4, 9]
    assert [index_of(frame.image) for frame in chosen] == [1, 4, 9]
    with pytest.raises(InputError, match="the video has 12 frames, and `offset` is 12"):
        moment_frames(video, Moments(1, 4, 12))
