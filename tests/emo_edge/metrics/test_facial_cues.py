"""Action units read out of answers: in emo-tiny's own words, and in those of other models."""

from __future__ import annotations

import pytest

from emo_edge.metrics.facial_cues import CUES, cues_in


@pytest.mark.parametrize("unit", CUES)
def test_each_phrase_names_its_own_unit_alone(unit: int) -> None:
    assert cues_in(f"The person looks sad: {CUES[unit]}.") == {unit}


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("He frowns with furrowed eyebrows, eyes wide open and mouth slightly open.", {4, 5, 25}),
        ("A bright smile with raised cheeks", {6, 12}),
        ("Her eyebrows are raised and her mouth is wide open", {1, 2, 25, 26}),
        ("raised inner eyebrows; the corners of the mouth are turned down", {1, 15}),
        ("She squints and wrinkles; the nose is scrunched, the lips are pressed together", {7, 9, 24}),
        ("the outer eyebrows are raised, the corners of the mouth are pulled up", {2, 12}),
        ("the inner eyebrows are slightly raised", {1}),
        ("A calm face in soft light.", set()),
        ("", set()),
    ],
)
def test_other_wordings_are_read_too(text: str, units: set[int]) -> None:
    assert cues_in(text) == units
