"""Bounds on the faces of a detector."""

from __future__ import annotations

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace
from emo_edge.faces.limits import FaceLimits, LimitedDetector
from emo_edge.faces.registry import WholeImage

FRAME = np.zeros((100, 200, 3), np.uint8)
FACES = [
    DetectedFace((0, 0, 40, 60), 0.9),
    DetectedFace((50, 0, 80, 30), 0.6),
    DetectedFace((90, 0, 100, 5), None),
]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (FaceLimits(), [0, 1, 2]),
        (FaceLimits(min_score=0.7), [0, 2]),
        (FaceLimits(min_face=0.1), [0, 1, 2]),
        (FaceLimits(min_face=0.31), [0]),
        (FaceLimits(max_faces=2), [0, 1]),
        (FaceLimits(min_score=0.95, max_faces=1), [2]),
    ],
)
def test_faces_outside_the_bounds_are_left_out(limits: FaceLimits, kept: list[int]) -> None:
    assert limits.kept(FACES, FRAME) == [FACES[index] for index in kept]


@pytest.mark.parametrize("wrong", [{"min_score": 1.1}, {"min_face": -0.1}, {"max_faces": 0}])
def test_bounds_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}` is"):
        FaceLimits(**wrong)  # type: ignore[arg-type]


def test_a_detector_keeps_its_name() -> None:
    limited = LimitedDetector(WholeImage(), FaceLimits(max_faces=1))
    assert limited.name == "whole-image" and len(limited.detect(FRAME)) == 1
