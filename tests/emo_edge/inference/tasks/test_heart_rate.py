"""The step of the task heart-rate: one number for a video, its sentences, and no number of a model's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as texts

from emo_edge.errors import TaskError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.signals.heart_rate import HeartRate, PulseWindow
from emo_edge.inference.tasks.heart_rate import (
    answer_sentence,
    measured_heart_rate,
    measurement_sentence,
    summarized,
    tool_call,
    without_numbers,
)

GOOD = HeartRate(70.3125, 70.3125, 5.5, True, None, 10.0, 30.0, "pos")
BAD = HeartRate(None, None, -3.1, False, "the pictures are grey: a pulse is a change of colour", 10.0, 30.0, "pos")


def windows(*rates: HeartRate, face: int = 0) -> list[PulseWindow]:
    return [PulseWindow(face, float(start), start + 10.0, rate) for start, rate in enumerate(rates)]


def test_the_middle_of_the_reliable_windows_is_the_answer() -> None:
    rates = [replace(GOOD, bpm=bpm) for bpm in (71.0, 140.0, 70.0)]
    assert summarized(windows(*rates, BAD)).bpm == 71.0
    assert summarized(windows(GOOD, BAD)).reliable


@pytest.mark.parametrize(
    ("given_windows", "reason"),
    [
        (windows(BAD), "the pictures are grey: a pulse is a change of colour"),
        (windows(GOOD, BAD, BAD), "2 of 3 windows have none; the pictures are grey: a pulse is a change of colour"),
        (windows(GOOD) + windows(GOOD, face=1), "2 faces are in the video, and an answer is about one: emo-edge pulse"),
    ],
)
def test_what_is_not_reliable_has_a_reason_and_no_number(given_windows: list[PulseWindow], reason: str) -> None:
    rate = summarized(given_windows)
    assert (rate.bpm, rate.bin_bpm, rate.reliable) == (None, None, False)
    assert rate.reason is not None and rate.reason.startswith(reason)
    assert answer_sentence(rate) == f"no reliable pulse: {rate.reason}" and measurement_sentence(rate) == ""


def test_the_notice_is_beside_the_number() -> None:
    assert answer_sentence(GOOD) == "The heart rate is 70.31 BPM. Not a medical device."
    assert measurement_sentence(GOOD) == "The measured heart rate is 70.31 BPM."
    assert tool_call(GOOD).to_dict() == {
        "name": "heart_rate",
        "arguments": {"method": "pos"},
        "result": {**GOOD.as_dict(), "notice": "Not a medical device."},
    }


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The person looks happy. The pulse is 99 BPM. So there.", "The person looks happy."),
        ("About ninety beats. Calm.", ""),
        ("Calm", "Calm"),
        ("", ""),
        ("`import os; os.system('true')`", "`import os; os.system('true')`"),
    ],
)
def test_sentences_with_a_number_of_the_models_own_are_left_out(text: str, kept: str) -> None:
    assert without_numbers(text) == kept


@given(texts.text(alphabet=texts.characters(codec="utf-8"), max_size=200))
def test_no_digit_of_the_models_own_is_left(text: str) -> None:
    assert not any(character.isdecimal() for character in without_numbers(text))


def test_a_picture_has_no_pulse(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(TaskError, match="measures in a video file, and this is a source of kind image"):
        measured_heart_rate(picture, WholeImage())
