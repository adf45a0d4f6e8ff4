"""Fast movements in curves of action units: found with their moments, and told from what only looks like them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.live.fast_movements import FastMovement, FastMovements
from emo_edge.inference.live.micro_expressions import LiveMicroExpressions

Shape = Callable[[float], float]
NOISE = 0.03
REST = 0.3


def triangle(onset_s: float, apex_s: float, offset_s: float, peak: float) -> Shape:
    return lambda seconds: float(np.interp(seconds, [onset_s, apex_s, offset_s], [0.0, peak, 0.0]))


def step(at_s: float, height: float, blend_s: float = 0.3) -> Shape:
    return lambda seconds: float(np.interp(seconds, [at_s, at_s + blend_s], [0.0, height]))


def spike(at_s: float, height: float) -> Shape:
    return lambda seconds: height if abs(seconds - at_s) < 0.01 else 0.0


def found(shape: Shape, fps: float = 30.0, seconds: float = 5.0, seed: int = 0) -> list[FastMovement]:
    """Return the movements in two units that follow a shape and one that rests, all with noise."""
    rng, spotter, events = np.random.default_rng(seed), FastMovements(), list[FastMovement]()
    for number in range(round(seconds * fps)):
        now_s = number / fps
        noise = rng.normal(0, NOISE, 3)
        values = REST + noise + shape(now_s) * np.array([1.0, 0.6, 0.0])
        events += spotter.add(now_s, dict(zip(("AU6", "AU12", "AU4"), values.tolist(), strict=True)))
    return events + spotter.end()


@pytest.mark.parametrize("moments", [(2.0, 2.1, 2.3), (2.0, 2.2, 2.3), (3.0, 3.25, 3.45)])
@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
def test_a_fast_rise_and_fall_is_found_with_its_moments(moments: tuple[float, float, float], fps: float) -> None:
    (event,) = found(triangle(*moments, 1.5), fps)
    assert (event.onset_s, event.apex_s, event.offset_s) == pytest.approx(moments, abs=0.07)
    assert list(event.units) == ["AU6", "AU12"], "the larger rise first, and no unit at rest"
    assert event.offset_s - event.onset_s <= 0.5 + 1e-6


@pytest.mark.parametrize(
    "shape",
    [
        lambda seconds: 0.0,
        step(2.0, 3.0),
        step(2.0, -1.5),
        triangle(1.5, 2.5, 3.5, 3.0),
        spike(2.0, 2.0),
        lambda seconds: 0.5 * np.sin(2 * np.pi * 0.3 * seconds),
    ],
    ids=["rest", "an expression begins", "an expression ends", "a slow expression", "one frame", "a slow sway"],
)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_no_fast_movement_is_none(shape: Shape, seed: int) -> None:
    assert found(shape, seed=seed) == []


def test_two_movements_are_two_events() -> None:
    one, other = triangle(1.5, 1.65, 1.8, 1.5), triangle(3.5, 3.6, 3.8, 1.5)
    events = found(lambda seconds: one(seconds) + other(seconds))
    assert [event.apex_s for event in events] == pytest.approx([1.65, 3.6], abs=0.07)


def test_slow_readings_have_no_movements() -> None:
    assert found(triangle(2.0, 2.15, 2.3, 1.5), fps=15.0) == []


def test_a_gap_is_bridged_by_nothing() -> None:
    spotter, events = FastMovements(), list[FastMovement]()
    shape = triangle(2.0, 2.15, 2.3, 1.5)
    for number in range(150):
        if not 62 <= number < 68:
            events += spotter.add(number / 30, {"AU12": REST + shape(number / 30)})
    assert events + spotter.end() == []


def test_a_time_that_begins_again_begins_the_curves_anew() -> None:
    spotter, shape = FastMovements(), triangle(2.0, 2.15, 2.3, 1.5)
    for round_ in range(2):
        events = list[FastMovement]()
        for number in range(120):
            events += spotter.add(number / 30, {"AU12": REST + shape(number / 30)})
        assert len(events + spotter.end()) == 1, f"round {round_}"


def units(value: float | None) -> dict[str, UnitReading]:
    return {"AU12": UnitReading(0.5, True, value)}


@pytest.mark.parametrize(
    ("value", "fps", "message"),
    [(1.0, 10.0, "less than 25 times a second"), (None, 30.0, "no intensities of action units")],
)
def test_what_cannot_be_found_is_said_once(
    value: float | None, fps: float, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    micro = LiveMicroExpressions()
    with caplog.at_level(logging.WARNING):
        for number in range(round(8 * fps)):
            micro.add(1, units(value), number / fps)
    assert caplog.text.count(message) == 1


def test_a_face_that_is_lost_ends_its_movement() -> None:
    micro, shape = LiveMicroExpressions(), triangle(1.5, 1.6, 1.8, 1.5)
    given = [one for number in range(60) for one in micro.add(1, units(REST + shape(number / 30)), number / 30)]
    assert not given and len(micro.drop(1)) == 1 and not micro.drop(1)
