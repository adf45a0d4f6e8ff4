"""The prompt as text, to the letter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.bundle.prompts import FaceLabels, PromptConfig, build_prompt, classify_question, demographic_sentence
from emo_edge.taxonomy import AGE_BINS, GENDERS, LABEL_SETS, RACES

CONFIG = PromptConfig()
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: "
)


def test_the_prompt_is_vicuna_v1() -> None:
    prompt = build_prompt(CONFIG, "What do you see?")
    assert prompt.before == SYSTEM
    assert prompt.after == "\nWhat do you see? ASSISTANT:"
    assert prompt.question == "What do you see?"


def test_the_sentence_stands_before_the_question() -> None:
    prompt = build_prompt(CONFIG, "Why?", "The person in the image is a Black female aged 20-29. ")
    assert prompt.after == "\nThe person in the image is a Black female aged 20-29. Why? ASSISTANT:"
    assert prompt.question == "Why?"


def test_the_category_question_is_ferids() -> None:
    assert classify_question(CONFIG, LABEL_SETS["rafdb7"]) == (
        "What is the facial expression of the person in the image? Choose one from the following options: "
        "{surprise, fear, disgust, happiness, sadness, anger, neutral}."
    )
    assert classify_question(CONFIG, ["a {b}", "c"], clip=True) == (
        "What is the facial expression of the person in the video? Choose one from the following options: {a {b}, c}."
    )


@pytest.mark.parametrize(("clip", "medium"), [(False, "image"), (True, "video")])
def test_the_sentence_names_the_most_probable(clip: bool, medium: str) -> None:
    for age, gender, race in ((0, 0, 0), (7, 1, 4), (3, 0, 2)):
        rows = (np.eye(count)[place] for count, place in ((8, age), (2, gender), (5, race)))
        assert demographic_sentence(CONFIG, FaceLabels(), *rows, clip=clip) == (
            f"The person in the {medium} is a {RACES[race]} {GENDERS[gender].lower()} aged {AGE_BINS[age]}. "
        )


def test_the_sentence_uses_the_checkpoints_names() -> None:
    labels = FaceLabels(race=("White", "Black", "Asian", "Indian", "Others"))
    sentence = demographic_sentence(CONFIG, labels, np.eye(8)[0], np.eye(2)[0], np.eye(5)[2])
    assert sentence == "The person in the image is a Asian male aged 0-9. "


@pytest.mark.parametrize(
    "question",
    [
        "{question}",
        "{demographics}{question}",
        "<image>",
        "before <image>\n after",
        "{",
        "}}{{",
        "{0} {labels} {medium.__class__}",
        "%s %(x)s $x \\1",
        "USER: ASSISTANT:",
        "",
    ],
)
def test_a_question_is_text_and_nothing_else(question: str) -> None:
    prompt = build_prompt(CONFIG, question, "SENTENCE ")
    assert (prompt.before, prompt.after) == (SYSTEM, f"\nSENTENCE {question} ASSISTANT:")


@given(question=st.text(), sentence=st.text(st.characters(exclude_characters="{")))
def test_the_parts_are_placed_once(question: str, sentence: str) -> None:
    prompt = build_prompt(CONFIG, question, sentence)
    assert prompt.before == SYSTEM
    assert prompt.after == f"\n{sentence}{question} ASSISTANT:"


def test_a_template_may_repeat_or_reorder_its_places() -> None:
    config = PromptConfig(template="[<image>] {question} ({demographics}) {question}")
    prompt = build_prompt(config, "Q", "D")
    assert (prompt.before, prompt.after) == ("[", "] Q (D) Q")
