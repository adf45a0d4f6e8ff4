"""Hints for near misses: one for what is spelled almost alike, none for anything else."""

from __future__ import annotations

import pytest

from emo_edge.bundle.label_sets import EVERYDAY_WORDS, unknown_label_set
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("word", "choices", "hint"),
    [
        ("smal", ["exact", "balanced", "small"], "; did you mean small?"),
        ("EXACT", ["exact", "balanced"], "; did you mean exact?"),
        ("orin", ["orin-nano-8gb", "orin-nx-16gb", "thor"], "; did you mean orin-nano-8gb or orin-nx-16gb?"),
        ("infr", ["infer", "inspect"], "; did you mean infer?"),
        ("tpu", ["auto", "cuda", "cpu"], "; did you mean cpu?"),
        ("nothing", ["exact", "small"], ""),
        ("", ["exact"], ""),
        ("exact", [], ""),
    ],
)
def test_a_near_miss_is_offered(word: str, choices: list[str], hint: str) -> None:
    assert did_you_mean(word, choices) == hint


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("joy", "; did you mean happiness? Labels instead of a set are two or more, with commas: happiness,neutral"),
        ("neutral", "; did you mean neutral? Labels instead of a set are two or more, with commas: neutral,happiness"),
        ("hapiness", "; did you mean happiness?"),
        ("affectnet", "; did you mean affectnet8?"),
        ("qwertz", ""),
    ],
)
def test_a_label_instead_of_a_label_set(word: str, hint: str) -> None:
    message = unknown_label_set(word, LABEL_SETS)
    assert message.startswith(f"no label set {word!r}; there are: rafdb7, ")
    assert hint in message and ("did you mean" in message) is bool(hint)


def test_everyday_words_stand_for_labels() -> None:
    assert set(EVERYDAY_WORDS.values()) <= {label for labels in LABEL_SETS.values() for label in labels}
