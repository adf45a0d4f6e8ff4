"""Labels as they are typed: a set, a list of one's own, and a hint for what looks like a typing error."""

from __future__ import annotations

import logging

import pytest

from emo_edge.bundle.label_sets import EVERYDAY_WORDS, typed_labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [(None, None), ("", ""), ("rafdb7", "rafdb7"), ("joy,fear", ("joy", "fear")), ("joy, fear", ("joy", " fear"))],
)
def test_a_comma_makes_a_list(
    text: str | None, labels: str | tuple[str, ...] | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert typed_labels(text) == labels
    assert not caplog.records


@pytest.mark.parametrize(
    ("word", "meant"),
    [("sadnes", "sadness"), (" Happines", "happiness"), ("suprise", "surprise")],
)
def test_a_typing_error_is_named_and_used(word: str, meant: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert typed_labels(f"joy,{word}") == ("joy", word)
    assert [record.getMessage() for record in caplog.records] == [
        f"{word.strip()} is taken as a label of your own; did you mean {meant}?"
    ]


def test_words_of_ones_own_are_left_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    own = [*EVERYDAY_WORDS, "Neutral", "satisfied", "annoyed", "disgusting", "surprising", "bored", "angrily"]
    assert typed_labels(",".join(own)) == tuple(own)
    assert not caplog.records
