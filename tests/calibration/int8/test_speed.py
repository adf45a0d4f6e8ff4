"""Two graphs timed in turns: a chain ten times as long is slower, and says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.calibration.int8.speed import SpeedCheck, compared_speed
from emo_edge.errors import InputError


def test_the_numbers_follow_from_the_times() -> None:
    check = SpeedCheck((10.0, 20.0, 10.0, 10.0), (12.0, 18.0, 11.0, 14.0))
    assert check.ratios == (1.2, 0.9, 1.1, 1.4)
    assert check.ratio == pytest.approx(1.15)
    assert check.spread == pytest.approx((0.96, 1.34))
    assert check.slower
    assert check.verdict() == ("slower here; 13.00 against 10.00 ms, ratio 1.15 (0.96 to 1.34) over 4 rounds")
    assert not SpeedCheck(check.candidate_ms, check.baseline_ms).slower
    assert not check.faster
    near = SpeedCheck((10.0, 10.0, 10.0), (9.0, 9.5, 11.0))
    assert (near.slower, near.faster) == (False, False), "no faster than the rounds differ"
    assert near.verdict().startswith("hardly faster here; ")
    assert SpeedCheck((10.0, 10.0), (9.0, 9.5)).faster
    said = json.loads(json.dumps(check.as_json()))
    assert said["candidate_ms"] == [12.0, 18.0, 11.0, 14.0]
    assert (said["slower"], said["verdict"]) == (True, check.verdict())


def test_a_longer_graph_is_slower_and_a_shorter_one_faster(
    write_tower: Callable[..., Path], tower_feeds: Any, tmp_path: Path
) -> None:
    short, long = write_tower(tmp_path / "short.onnx", depth=1), write_tower(tmp_path / "long.onnx", depth=20)
    (feed,) = tower_feeds(64, size=64)
    check = compared_speed(short, long, feed, rounds=5, threads=1)
    assert len(check.baseline_ms) == len(check.candidate_ms) == 5
    assert check.slower
    assert check.verdict().startswith("slower here;")
    assert compared_speed(long, short, feed, rounds=5, threads=1).verdict().startswith("faster here;")


def test_too_few_rounds_and_a_feed_that_does_not_fit_are_refused(
    write_tower: Callable[..., Path], tower_feeds: Any, tmp_path: Path
) -> None:
    tower = write_tower(tmp_path / "a.onnx", depth=1)
    with pytest.raises(InputError, match="2 rounds are too few: time at least 3"):
        compared_speed(tower, tower, tower_feeds(8)[0], rounds=2)
    with pytest.raises(InputError, match="cannot be fed y"):
        compared_speed(tower, tower, {"y": np.zeros((1, 2), np.float32)}, rounds=3)
