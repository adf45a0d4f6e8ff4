"""Instruction pairs in FERID's two shapes: category questions, and conversations that name visible cues.

The category question and the conversation openers are the wordings of FERID's ``Instruction_example.png``;
the answers are composed here from the renderer's exact action units, never by another model.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from emo_edge.metrics.facial_cues import CUES
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS, LABEL_SETS

ADJECTIVES: dict[str, str] = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
    "fear": "afraid",
    "disgust": "disgusted",
    "anger": "angry",
    "contempt": "contemptuous",
}
OPEN_QUESTIONS = (
    "What is the facial expression of the person?",
    "What is the emotion of the person in the {medium}?",
    "Which facial cues are visible?",
    "Why does the person look {adjective}?",
)
SYNONYMS = {"happiness": "joy"}
CLASSIFY = (
    "What is the facial expression of the person in the {medium}? Choose one from the following options: {{{labels}}}."
)


@dataclass(frozen=True)
class Instruction:
    """A question and the answer that training teaches."""

    question: str
    answer: str


def category_instruction(expression: str, rng: random.Random, *, medium: str = "image") -> Instruction:
    """Ask for one of a shuffled option list that holds the true label."""
    fitting = [labels for labels in LABEL_SETS.values() if expression in labels and set(labels) <= set(EXPRESSIONS)]
    options = list(rng.choice(fitting))
    rng.shuffle(options)
    if rng.random() < 0.15:
        options = [SYNONYMS.get(label, label) for label in options]
        expression = SYNONYMS.get(expression, expression)
    return Instruction(CLASSIFY.format(medium=medium, labels=", ".join(options)), expression)


def conversation_instruction(
    expression: str, cues: Collection[int], rng: random.Random, *, medium: str = "image"
) -> Instruction:
    """Ask an open question; the answer names the emotion and every visible action unit."""
    adjective = ADJECTIVES[expression]
    question = rng.choice(OPEN_QUESTIONS).format(medium=medium, adjective=adjective)
    return Instruction(question, f"The person looks {adjective}: {describe_cues(cues)}.")


def describe_cues(cues: Collection[int]) -> str:
    """Name the action units in a fixed order, as one clause."""
    phrases = [CUES[unit] for unit in ACTION_UNITS if unit in cues]
    if not phrases:
        return "the face is relaxed"
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def corpus(count: int, seed: int, demographic_sentences: Sequence[str]) -> Iterator[str]:
    """Yield ``count`` prompts with answers, for the tokenizers to learn their pieces from."""
    rng = random.Random(seed)
    for _ in range(count):
        expression = rng.choice(EXPRESSIONS)
        cues = rng.sample(ACTION_UNITS, rng.randrange(6))
        medium = rng.choice(("image", "video"))
        make = rng.choice((_category, conversation_instruction))
        pair = make(expression, cues, rng, medium=medium)
        yield f"{rng.choice(demographic_sentences)}{pair.question} ASSISTANT: {pair.answer}"


def _category(expression: str, _cues: Collection[int], rng: random.Random, *, medium: str) -> Instruction:
    return category_instruction(expression, rng, medium=medium)
