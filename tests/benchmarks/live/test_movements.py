"""Drawn micro-expressions: their truth, their pictures, and a clear one that emo-tiny's action units show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emo_edge.benchmarks.live import movements
from emo_edge.benchmarks.live.movements import FPS, PEAK, SECONDS, Clip, Movement, drawn_movement, frames, table
from emo_edge.inference.live.fast_movements import FastMovement
from emo_edge.inference.pipeline import EmotionPipeline

DOCS = Path(__file__).parents[3] / "docs" / "results"
TRUE = Movement("happiness", 2.0, 2.1, 2.3, 0.3)
CLEAR = Movement("happiness", 2.0, 2.2, 2.4, 1.0)


def event(onset_s: float, offset_s: float) -> FastMovement:
    return FastMovement(onset_s, (onset_s + offset_s) / 2, offset_s, {"AU12": 1.0}, 60.0)


def test_a_drawn_movement_is_fast_and_small() -> None:
    for index in range(30):
        one = drawn_movement(index)
        assert one == drawn_movement(index)
        assert 0 < one.onset_s < one.apex_s < one.offset_s < SECONDS and one.offset_s - one.onset_s <= 0.5
        assert PEAK[0] <= one.level(one.apex_s) <= PEAK[1] and one.level(one.onset_s) == one.level(one.offset_s) == 0


def test_the_pictures_differ_while_it_moves_alone() -> None:
    one, pairs = drawn_movement(0), zip(frames("micro-expression", 0), frames("at rest", 0), strict=True)
    differ = {seconds for (seconds, moving), (_, rest) in pairs if (moving.image != rest.image).any()}
    assert differ and all(one.onset_s < seconds < one.offset_s for seconds in differ)


def test_found_and_other_events_are_told_apart() -> None:
    clips = [
        Clip("micro-expression", 0, TRUE, 4.0, [event(2.0, 2.3), event(3.0, 3.3)]),
        Clip("micro-expression", 1, TRUE, 4.0, [event(2.25, 2.6)]),
        Clip("at rest", 0, None, 30.0, [event(1.0, 1.2)]),
    ]
    assert [clip.hit is not None for clip in clips] == [True, False, False]
    first, second, third = table(clips).splitlines()[2:]
    assert "| 1 of 2 (50%) | 15.0 | 50 ms |" in first
    assert "| – | 2.0 | – |" in second and third.startswith("| 0, whole expressions |")


def test_a_clear_movement_is_found_in_the_curves_of_a_bundle(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movements, "drawn_movement", lambda index: CLEAR)
    with EmotionPipeline.open(tiny_bundle, device="cpu", emotions=False) as pipeline:
        clip = movements.read_clip(pipeline, "micro-expression", 0)
    assert clip.hit is not None
    assert clip.hit.apex_s == pytest.approx(CLEAR.apex_s, abs=0.1)
    assert clip.seconds == pytest.approx(SECONDS, abs=10 / FPS)


def test_the_documented_table_is_that_of_the_kept_values() -> None:
    document = json.loads((DOCS / "live-movements.json").read_text(encoding="utf-8"))
    clips = [
        Clip(
            one["kind"],
            one["index"],
            Movement(**one["movement"]) if one["movement"] else None,
            one["seconds"],
            [FastMovement(*row[:3], {"AU12": 1.0}, row[3]) for row in one["events"]],
        )
        for one in document["clips"]
    ]
    assert table(clips) in (DOCS / "live.md").read_text(encoding="utf-8")
