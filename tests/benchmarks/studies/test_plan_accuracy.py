"""The comparison of predicted and measured stages: every stage is there, and the table says what is outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.benchmarks.studies.plan_accuracy import Row, compared, table
from emo_edge.bundle.reader import Bundle
from emo_edge.planning.cost.work import KINDS
from emo_edge.planning.roofline import Device, Engine, Speed, constant

SPEED = Speed({"fp32": constant(1e11)}, dict.fromkeys(KINDS, constant(1e10)), 0.0, 1e-4)
ENGINE = Engine(SPEED, SPEED)
MACHINE = Device("this", "a fake", 8e9, 6e9, 0.0, ENGINE, {"": ENGINE}, 1e-6, 1e-9, half_is_native=False, measured=True)


def test_every_stage_is_predicted_and_measured(tiny_bundle: Path) -> None:
    rows = compared(Bundle.open(tiny_bundle), MACHINE, ["small"], rounds=3, threads=1)
    stages = ["vision", "face", "connector", "prefill", "score", "first token", "per token", "to the label"]
    assert [row.stage for row in rows] == stages
    for row in rows:
        assert row.predicted > 0 and 0 < row.low <= row.measured <= row.high
        assert len(row.samples) >= 3
    by_name = {row.stage: row for row in rows}
    assert by_name["to the label"].measured > by_name["vision"].measured


@pytest.mark.parametrize(("predicted", "near"), [(7.1, True), (12.9, True), (6.9, False), (13.1, False)])
def test_thirty_per_cent_either_way_is_near(predicted: float, near: bool) -> None:
    assert Row("small", "vision", predicted, 10.0, 9.0, 11.0, (10.0,)).within is near


def test_the_table_marks_what_is_outside_and_does_not_judge_what_is_too_short() -> None:
    rows = [
        Row("small", "vision", 10.0, 10.0, 9.0, 11.0, (10.0, 10.0)),
        Row("small", "face", 20.0, 10.0, 9.0, 11.0, (10.0,)),
        Row("small", "score", 0.01, 0.02, 0.01, 0.03, (0.02,)),
    ]
    text = table(rows, 2)
    assert "| small | vision | 10.000 | 10.000 (9.000–11.000) | 2 | 1.00 |" in text
    assert "| 2.00 (outside) |" in text and "| too short to judge |" in text
    assert "1 of 2 stages are within ±30%." in text and "2 threads" in text
