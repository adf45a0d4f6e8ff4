"""Brief movements in made curves: their frames, noise, slow expressions, gaps, frame rates, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.inference.signals.movements import LEAST_SCORE, Movement, spot_movements

FloatArray = NDArray[np.float64]
UNITS = 6


def smooth(times: FloatArray, onset: float, apex: float, offset: float) -> FloatArray:
    part = np.clip(np.minimum((times - onset) / (apex - onset), (offset - times) / (offset - apex)), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def made(seed: int, fps: float, seconds: float, *moments: tuple[float, float, float]) -> tuple[FloatArray, FloatArray]:
    """Return curves with noise and a slow drift, in which two units rise by 1 at each movement, and their times."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * fps)) / fps
    curves = 0.5 + 0.06 * rng.standard_normal((len(times), UNITS))
    curves += 0.3 * np.sin(2 * np.pi * 0.2 * times[:, None] + rng.uniform(0, 6, UNITS))
    for one in moments:
        curves[:, [1, 4]] += smooth(times, *one)[:, None]
    return np.clip(curves, 0, 5), times


def seconds_of(one: Movement, times: FloatArray) -> tuple[float, float, float]:
    return float(times[one.onset]), float(times[one.apex]), float(times[one.offset])


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0, 200.0])
@pytest.mark.parametrize("moments", [(0.9, 1.05, 1.2), (0.7, 0.95, 1.1), (1.2, 1.35, 1.65)])
def test_a_movement_is_found_where_it_is(fps: float, moments: tuple[float, float, float]) -> None:
    curves, times = made(1, fps, 2.5, moments)
    (one,) = spot_movements(curves, times)
    assert one.score > LEAST_SCORE
    assert seconds_of(one, times) == pytest.approx(moments, abs=0.09)
    assert times[one.apex] == pytest.approx(moments[1], abs=max(0.035, 1.01 / fps))
    assert sorted(np.argsort(one.rises)[-2:].tolist()) == [1, 4]
    assert one.rises[1] == pytest.approx(1, abs=0.4) and abs(one.rises[0]) < 0.2


def test_each_of_two_movements_is_found_and_none_shares_a_frame() -> None:
    wanted = (0.5, 0.7, 0.85), (3.8, 3.95, 4.2)
    curves, times = made(2, 50.0, 5.0, *wanted)
    found = sorted(spot_movements(curves, times), key=lambda one: one.onset)
    assert [seconds_of(one, times)[1] for one in found] == pytest.approx([0.7, 3.95], abs=0.05)
    assert found[0].offset < found[1].onset
    assert len(spot_movements(curves, times, most=1)) == 1


def test_a_face_at_rest_and_a_slow_expression_are_no_movement() -> None:
    assert spot_movements(*made(3, 30.0, 3.0)) == []
    assert spot_movements(*made(4, 30.0, 4.0, (0.5, 1.8, 3.4))) == []
    assert spot_movements(np.full((90, UNITS), 0.7), np.arange(90) / 30) == []
    assert len(spot_movements(*made(3, 30.0, 3.0), most=1, least_score=0)) == 1


def test_a_unit_that_falls_is_no_movement() -> None:
    curves, times = made(5, 30.0, 2.5, (1.0, 1.2, 1.4))
    assert spot_movements(2.5 - curves, times) == []


def test_frames_are_counted_where_some_are_missing() -> None:
    curves, times = made(6, 30.0, 2.5, (1.2, 1.37, 1.57))
    kept = np.setdiff1d(np.arange(len(times)), [10, 11, 20, 60])
    (one,) = spot_movements(curves[kept], times[kept])
    assert kept[one.apex] == pytest.approx(41, abs=1)


def test_a_movement_over_a_gap_is_not_seen() -> None:
    curves, times = made(7, 30.0, 2.5, (1.0, 1.2, 1.4))
    kept = np.flatnonzero((times < 1.1) | (times > 1.3))
    assert spot_movements(curves[kept], times[kept]) == []


def test_a_face_that_is_away_for_seconds_keeps_its_frame_rate() -> None:
    curves, times = made(8, 30.0, 8.0, (6.5, 6.7, 6.85))
    kept = np.flatnonzero((times < 1.0) | (times > 5.5))
    (one,) = spot_movements(curves[kept], times[kept])
    assert times[kept][one.apex] == pytest.approx(6.7, abs=0.04)


@pytest.mark.parametrize(
    ("curves", "times", "message"),
    [
        (np.zeros(30), np.arange(30) / 30, r"curves are \[N, U\]"),
        (np.zeros((30, 2)), np.arange(29) / 30, r"curves are \[N, U\]"),
        (np.zeros((30, 0)), np.arange(30) / 30, r"curves are \[N, U\]"),
        (np.full((30, 2), np.nan), np.arange(30) / 30, "not finite"),
        (np.zeros((30, 2)), np.zeros(30), "times ascend"),
        (np.zeros((1, 2)), np.zeros(1), "two frames or more"),
        (np.zeros((30, 2)), np.arange(30) / 10, "needs 20 frames a second"),
        (np.zeros((9, 2)), np.arange(9) / 30, "needs 20 frames a second, and 0.4 s or more"),
    ],
)
def test_what_cannot_hold_a_movement_is_refused(curves: FloatArray, times: FloatArray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        spot_movements(curves, times)
