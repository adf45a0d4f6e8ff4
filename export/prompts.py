"""Build the prompt text from the config's templates, split where the visual tokens go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.export.config import FaceLabels, PromptConfig

IMAGE_MARK = "<image>"


@dataclass(frozen=True)
class Prompt:
    """The text before and after the visual tokens; the Q-Former reads ``question`` alone."""

    before: str
    after: str
    question: str


def build_prompt(config: PromptConfig, question: str, demographics: str = "") -> Prompt:
    """Place the question and the age/gender/race sentence (or nothing) in the conversation."""
    before, after = config.template.split(IMAGE_MARK)
    filled = after.replace("{demographics}", demographics).replace("{question}", question)
    return Prompt(before=before, after=filled, question=question)


def classify_question(config: PromptConfig, labels: Sequence[str], *, clip: bool = False) -> str:
    """Ask for one of ``labels``, in the order given."""
    return config.classify.format(medium=medium(clip), labels=", ".join(labels))


def medium(clip: bool) -> str:
    """Return the word that the prompts use for what is shown."""
    return "video" if clip else "image"


def demographic_sentence(
    config: PromptConfig,
    labels: FaceLabels,
    age: NDArray[np.floating],
    gender: NDArray[np.floating],
    race: NDArray[np.floating],
    *,
    clip: bool = False,
) -> str:
    """Name the most probable age bin, gender and race group.

    Args:
        config: holds the sentence's template.
        labels: names of the head rows.
        age: probabilities [8]; ``gender`` [2]; ``race`` [5]; a clip passes the mean over its frames.
        gender: see ``age``.
        race: see ``age``.
        clip: whether frames of a clip are described.
    """
    return config.demographics.format(
        medium=medium(clip),
        race=labels.race[int(np.argmax(race))],
        gender=labels.gender[int(np.argmax(gender))].lower(),
        age=labels.age[int(np.argmax(age))],
    )
