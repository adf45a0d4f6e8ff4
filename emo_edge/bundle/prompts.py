"""Prompts: their configuration, and their text, split where the visual tokens go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from emo_edge.taxonomy import AGE_BINS, CELEBA_ATTRIBUTES, GENDERS, RACES
from emo_edge.utils.settings import Finite, Line, Name, Section, Text, require

IMAGE_MARK = "<image>"
MOST_PLACEHOLDERS = 8
"""Places of a text that one value, or one of several, is filled in."""


class PromptConfig(Section):
    """The conversation as text. ``<image>`` marks where the visual tokens go.

    A question in front of the frames is computed once for all of them, as the rest of the text there is. That is for
    checkpoints that were trained so.
    """

    template: Text = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\n{demographics}{question} ASSISTANT:"
    )
    """LLaMA-VID's vicuna_v1 conversation, with a place for the age/gender/race sentence before the question."""
    classify: Text = (
        "What is the facial expression of the person in the {medium}? "
        "Choose one from the following options: {{{labels}}}."
    )
    """Category question of FERID's ``Instruction_example.png``; the outer braces are literal there."""
    describe: Text = "What is the facial expression of the person?"
    demographics: Text = "The person in the {medium} is a {race} {gender} aged {age}. "
    """Reconstruction: EMO-LLaMA's wording is not public."""
    use_demographics: bool = True
    answer_space: bool = True
    """True puts a space between the prompt and its answer."""

    @model_validator(mode="after")
    def _fields_there(self) -> PromptConfig:
        after = self.template.partition("<image>")[2]
        require(
            (self.template.count("<image>") == 1, "prompt.template must hold <image> exactly once"),
            ("{question}" in self.template, "prompt.template lacks {question}"),
            # The sentence is another one for each face, and what stands before the frames is computed once.
            ("{demographics}" in after, "prompt.template lacks {demographics} after <image>"),
            *placeholder_checks("prompt.template", self.template),
            *_field_checks("classify", self.classify, needed=("medium", "labels")),
            *_field_checks("demographics", self.demographics, needed=("race", "gender", "age"), allowed=("medium",)),
        )
        return self


def placeholder_checks(name: str, text: str) -> list[tuple[bool, str]]:
    """Require that a text is not filled in more often than a prompt can need."""
    return [
        (text.count(mark) <= MOST_PLACEHOLDERS, f"{name} has {mark} more than {MOST_PLACEHOLDERS} times")
        for mark in ("{question}", "{demographics}")
    ]


def _field_checks(
    name: str, text: str, *, needed: tuple[str, ...], allowed: tuple[str, ...] = ()
) -> list[tuple[bool, str]]:
    try:
        fields = [
            field + (f":{spec}" if spec else "") for _, field, spec, _ in Formatter().parse(text) if field is not None
        ]
    except ValueError as error:
        return [(False, f"prompt.{name}: {error}; a literal brace is written twice")]
    missing = [f"{{{field}}}" for field in needed if field not in fields]
    unknown = [f"{{{field}}}" for field in fields if field not in needed + allowed][:MOST_PLACEHOLDERS]
    return [
        (len(fields) <= MOST_PLACEHOLDERS, f"prompt.{name} has more than {MOST_PLACEHOLDERS} places that are filled"),
        (not missing, f"prompt.{name} lacks {', '.join(missing)}"),
        (not unknown, f"prompt.{name} has {', '.join(unknown)}, which nothing fills"),
    ]


class ValueRange(Section):
    """A number that a network gives beside its labels, such as valence: its name and the ends of its scale."""

    name: Name
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _ends_differ(self) -> ValueRange:
        require((self.low < self.high, f"value {self.name}: its low end {self.low:g} is not below {self.high:g}"))
        return self


class FaceLabels(Section):
    """Names of the face heads' rows, in output order."""

    age: tuple[Line, ...] = AGE_BINS
    gender: tuple[Line, ...] = GENDERS
    race: tuple[Line, ...] = RACES
    attributes: tuple[Line, ...] = CELEBA_ATTRIBUTES
    expression: Annotated[tuple[Line, ...], Field(max_length=512)] = ()
    """Rows of ``label_logits``, of a network that gives the labels itself; empty for every other."""
    values: Annotated[tuple[ValueRange, ...], Field(max_length=64)] = ()
    """Rows of ``values``, which such a network gives beside its labels."""

    @model_validator(mode="after")
    def _counts_fit(self) -> FaceLabels:
        expressions = self.expression
        counts = {"age": 8, "gender": 2, "race": 5, "attributes": 40}
        require(
            *(
                (len(getattr(self, name)) == count, f"face_labels.{name} needs {count} names, one per output row")
                for name, count in counts.items()
            ),
            (
                len(set(expressions)) == len(expressions) != 1 and all(expressions),
                "face_labels.expression needs two or more different names, one per output row",
            ),
            (len({value.name for value in self.values}) == len(self.values), "face_labels.values has a name twice"),
        )
        return self

    def row_checks(self, heads: Mapping[str, Sequence[int | str]]) -> list[tuple[bool, str]]:
        """Require as many names as each head has rows; ``heads`` are the shapes of a face graph's outputs by name."""
        named = {name: len(getattr(self, name)) for name in ("age", "gender", "race", "attributes")}
        rows = {name: heads[name][-1] for name in named if heads.get(name)}
        return [
            (
                isinstance(count, str) or count == named[name],
                f"components.face: {name} has {count} rows, not {named[name]}",
            )
            for name, count in rows.items()
        ]


class TokenGroup(Section):
    """Consecutive embeddings of one frame and the component whose output they are."""

    name: Literal["context", "content", "face", "landmark", "picture"]
    count: Annotated[int, Field(ge=1, le=4096, strict=True)]
    """Of a ``picture`` the tokens around it as well."""
    component: Literal["connector", "face", "vision"]


class BeginSegment(Section):
    """The begin-of-sequence token."""

    kind: Literal["begin"] = "begin"


class TextSegment(Section):
    """Text that is tokenised on its own; ``{question}`` and ``{demographics}`` are filled in."""

    kind: Literal["text"] = "text"
    text: Text
    control: bool = False
    """True reads names of control tokens in the text as these tokens; what is filled in may hold none."""


class FramesSegment(Section):
    """The visual tokens of every frame, one frame after the other, groups in this order."""

    kind: Literal["frames"] = "frames"
    groups: Annotated[tuple[TokenGroup, ...], Field(min_length=1, max_length=16)]

    @property
    def tokens_per_frame(self) -> int:
        """Positions a frame fills."""
        return sum(group.count for group in self.groups)


Segment = Annotated[BeginSegment | TextSegment | FramesSegment, Field(discriminator="kind")]


@dataclass(frozen=True)
class Prompt:
    """The text before and after the visual tokens; the Q-Former reads ``question`` alone."""

    before: str
    after: str
    question: str


def build_prompt(config: PromptConfig, question: str, demographics: str = "") -> Prompt:
    """Place the question and the age/gender/race sentence (or nothing) in the conversation."""
    before, after = (
        text.replace("{demographics}", demographics).replace("{question}", question)
        for text in config.template.split(IMAGE_MARK)
    )
    return Prompt(before=before, after=after, question=question)


def classify_question(config: PromptConfig, labels: Sequence[str], *, clip: bool = False) -> str:
    """Ask for one of ``labels``, in the order given."""
    return config.classify.format(medium=medium(clip), labels=", ".join(labels))


def answer_ids(
    tokenize: Callable[[str], Sequence[int]], context: str, answer: str, space: str = " "
) -> list[int] | None:
    """Return the token ids that ``answer`` adds after ``context``, tokenized together as training saw them.

    ``space`` is between them. None where the first of the answer's ids merges with the context.
    """
    before, both = list(tokenize(context)), list(tokenize(f"{context}{space}{answer}"))
    return both[len(before) :] if both[: len(before)] == before and len(both) > len(before) else None


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
