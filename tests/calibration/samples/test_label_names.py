"""Labels of a user's folder as the bundle writes them: spelling, adjectives, a map; and what is left out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from emo_edge.assets.packaged import Sample
from emo_edge.calibration.samples.label_names import with_labels_of
from emo_edge.errors import InputError
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]


def samples(*labels: str | None) -> list[Sample]:
    return [Sample(f"{label}/{number}.jpg", Path("x"), None, label) for number, label in enumerate(labels)]


def names(*labels: str | None, known: tuple[str, ...] = LABELS, **label_map: str) -> list[str | None]:
    return [sample.expression for sample in with_labels_of(samples(*labels), known, label_map)]


def test_spelling_and_adjectives_are_ours() -> None:
    assert names("Happiness", "ANGRY", "Surprised", "neutral", "happily_surprised") == [
        "happiness",
        "anger",
        "surprise",
        "neutral",
        "happily_surprised",
    ]
    assert names("happily_surprised", known=LABEL_SETS["rafdb-compound11"]) == ["happily surprised"]


def test_a_set_that_has_the_adjective_itself_keeps_it() -> None:
    assert names("happy", "sad", known=("happy", "sad")) == ["happy", "sad"]
    assert names("happy", known=("happy", "happiness")) == ["happy"]


def test_a_map_decides_and_leaves_out() -> None:
    assert names("joy", "contempt", "happy", None, joy="happiness", contempt="") == ["happiness", "happiness", None]
    assert names("happy", happy="surprise") == ["surprise"]


def test_a_map_that_makes_no_sense_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match=r"`label_map` joy=hapiness: choose from .*did you mean happiness"):
        names("joy", joy="hapiness")
    with pytest.raises(InputError, match="leaves every sample out"):
        names("joy", joy="")
    with caplog.at_level(logging.WARNING):
        assert names("neutral", joy="happiness") == ["neutral"]
    assert "label map joy: no sample has this label" in caplog.text
