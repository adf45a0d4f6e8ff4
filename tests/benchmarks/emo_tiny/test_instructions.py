"""Instruction pairs: answers that can be read back, options that hold the answer, the same corpus each time."""

from __future__ import annotations

import itertools
import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.benchmarks.emo_tiny.instructions import (
    ADJECTIVES,
    CLASSIFY,
    OPEN_QUESTIONS,
    SYNONYMS,
    category_instruction,
    conversation_instruction,
    corpus,
    describe_cues,
)
from emo_edge.bundle.prompts import PromptConfig
from emo_edge.metrics.facial_cues import CUES, cues_in
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS, LABEL_SETS

SENTENCES = ["", "The person in the image is a Asian female aged 20-29. "]


@given(cues=st.sets(st.sampled_from(ACTION_UNITS)))
def test_cues_read_back_as_they_were_said(cues: set[int]) -> None:
    assert cues_in(describe_cues(cues)) == cues


@given(cues=st.sets(st.sampled_from(ACTION_UNITS)), expression=st.sampled_from(EXPRESSIONS), seed=st.integers(0, 99))
def test_cues_read_back_out_of_a_whole_answer(cues: set[int], expression: str, seed: int) -> None:
    pair = conversation_instruction(expression, cues, random.Random(seed), medium="video")
    assert cues_in(pair.answer) == cues
    assert pair.answer.startswith(f"The person looks {ADJECTIVES[expression]}: ")
    assert "{" not in pair.question


def test_every_unit_has_a_phrase_and_no_phrase_holds_another() -> None:
    assert tuple(CUES) == ACTION_UNITS
    for one, other in itertools.permutations(CUES.values(), 2):
        assert one not in other


def test_the_order_of_cues_is_fixed_and_the_clause_is_english() -> None:
    assert describe_cues([]) == "the face is relaxed"
    assert describe_cues({12}) == "the lip corners are pulled up"
    assert (
        describe_cues([12, 6]) == describe_cues([6, 12]) == "the cheeks are pushed up and the lip corners are pulled up"
    )
    assert describe_cues((26, 1, 2)) == "the inner brows are raised, the outer brows are raised and the jaw is dropped"


def options(question: str) -> list[str]:
    found = re.search(r"\{(.*)\}", question)
    assert found is not None
    return found[1].split(", ")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_options_hold_the_answer_and_are_a_label_set(expression: str) -> None:
    said = set()
    for seed in range(60):
        pair = category_instruction(expression, random.Random(seed))
        listed = options(pair.question)
        assert listed.count(pair.answer) == 1
        plain = {word: label for label, word in SYNONYMS.items()}
        assert plain.get(pair.answer, pair.answer) == expression
        assert sorted(plain.get(label, label) for label in listed) in [sorted(labels) for labels in LABEL_SETS.values()]
        said.add(pair.answer)
    assert said == {expression, SYNONYMS.get(expression, expression)}


def test_options_are_shuffled() -> None:
    pairs = [category_instruction("anger", random.Random(seed)) for seed in range(200)]
    places = [options(pair.question).index("anger") for pair in pairs]
    assert set(places) == set(range(8))
    assert max(places.count(place) for place in range(7)) < 60


def test_the_questions_are_the_ones_that_are_asked() -> None:
    asked = PromptConfig()
    assert asked.classify == CLASSIFY
    assert asked.describe in OPEN_QUESTIONS


def test_the_medium_is_named() -> None:
    pair = category_instruction("fear", random.Random(0), medium="video")
    assert pair.question.startswith("What is the facial expression of the person in the video? ")


def test_the_corpus_repeats_with_its_seed() -> None:
    lines = list(corpus(200, 5, SENTENCES))
    assert len(lines) == 200
    assert lines == list(corpus(200, 5, SENTENCES))
    assert lines != list(corpus(200, 6, SENTENCES))
    assert lines[:50] == list(corpus(50, 5, SENTENCES))
    assert all(" ASSISTANT: " in line for line in lines)
    assert any(one != other for one, other in pairwise(lines))


def test_the_corpus_holds_every_word_of_the_answers() -> None:
    text = "\n".join(corpus(2000, 0, SENTENCES))
    for phrase in (*CUES.values(), *ADJECTIVES.values(), *EXPRESSIONS, *SYNONYMS.values(), "the face is relaxed"):
        assert phrase in text
