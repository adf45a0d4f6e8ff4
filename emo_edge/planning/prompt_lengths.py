"""Lengths of the prompts of a bundle or of a known shape, in positions, and of the labels that are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.bundle.label_sets import resolve_labels, unknown_label_set
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.model_shape import ModelShape
from emo_edge.bundle.prompts import (
    FaceLabels,
    FramesSegment,
    PromptConfig,
    TextSegment,
    build_prompt,
    classify_question,
    medium,
)
from emo_edge.bundle.question_tokenizer import QuestionTokenizer
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.runtimes.llama_cpp.vocabulary import Vocabulary
from emo_edge.runtimes.mtmd.proof import prove_bundle
from emo_edge.taxonomy import LABEL_SETS

CONTEXT_STEP = 256
"""Contexts are multiples of this: llama.cpp rounds them up to it."""
SPARE = 16
"""Positions for a sentence about someone else, or a label in another place, that takes some tokens more."""


@dataclass(frozen=True)
class PromptLength:
    """One prompt without its frames; the text before them stays in the attention cache between inferences."""

    before: int
    """Positions, begin-of-sequence included."""
    after: int
    question: int
    """Tokens that the connector reads; 0 where it reads no question."""

    def positions(self, visual: int) -> int:
        """Return the positions of the whole prompt with ``visual`` tokens of its frames."""
        return self.before + visual + self.after


@dataclass(frozen=True)
class PromptLengths:
    """Both prompts of a face, for labels and for a description, and the labels."""

    label: PromptLength
    describe: PromptLength
    labels: int
    branch_rows: int
    """Positions that scoring the labels computes: all their tokens but the first ones."""
    longest_label: int
    """Tokens."""

    def needed(self, visual: int, answer: int) -> int:
        """Return the positions of the longer prompt and its answer, with ``visual`` tokens of its frames."""
        return max(self.label.positions(visual) + self.longest_label, self.describe.positions(visual) + answer)


def rounded_context(needed: int, trained: int) -> int:
    """Return the context that is opened for a need: a little more, and at most what the model was trained with."""
    return min(-(-(needed + SPARE) // CONTEXT_STEP) * CONTEXT_STEP, trained)


def bundle_prompts(
    bundle: Bundle, vocabulary: Path, labels: str | Sequence[str] | None, *, clip: bool, ask: str | None = None
) -> PromptLengths:
    """Tokenize both questions as inference does; raise InputError for an unknown label set.

    Args:
        bundle: whose prompts are counted.
        vocabulary: one of the bundle's GGUF files.
        labels: name of a label set, or the labels; None as for a reading.
        clip: True if the prompt speaks of a video.
        ask: another question; the longer one counts as the question for a description.
    """
    manifest = bundle.manifest
    names = resolve_labels(manifest, labels)
    file, limit = manifest.question_tokenizer, manifest.max_question_tokens
    tokenizer = QuestionTokenizer(bundle.directory / file.path, limit) if file and limit else None
    prove_bundle(bundle)
    control = any(isinstance(part, TextSegment) and part.control for part in manifest.layout)
    with Vocabulary(vocabulary) as tokens:

        def count(text: str) -> int:
            return len(tokens.tokenize(text, control=control))

        def length(question: str) -> PromptLength:
            before, after, begins = _texts(manifest, question, clip)
            return PromptLength(
                begins + sum(map(count, before)),
                sum(map(count, after)),
                len(tokenizer.encode(question)) if tokenizer else 0,
            )

        label = length(classify_question(manifest.prompt, names, clip=clip))
        questions = [manifest.prompt.describe, *([ask] if ask else [])]
        describe = max(map(length, questions), key=lambda prompt: prompt.positions(0))
        # The last text of the layout, so that a label is tokenized as it is after that text.
        stem = (_texts(manifest, "", clip)[1] or [""])[-1]
        space = " " if manifest.prompt.answer_space else ""
        sizes = [max(count(f"{stem}{space}{label}") - count(stem), 1) for label in names]
    return PromptLengths(label, describe, len(names), sum(sizes) - len(sizes), max(sizes))


def shape_prompts(shape: ModelShape, labels: str, *, clip: bool) -> PromptLengths:
    """Estimate the tokens of both questions from their letters; raise InputError for an unknown label set."""
    if labels not in LABEL_SETS:
        raise InputError(unknown_label_set(labels, LABEL_SETS))
    config, names = PromptConfig(), LABEL_SETS[labels]
    sentence = _sentence(config, FaceLabels(), clip) if shape.face else ""

    def length(question: str) -> PromptLength:
        text = build_prompt(config, question, sentence)
        before, after = (math.ceil(len(part) / shape.characters_a_token) for part in (text.before, text.after))
        letters = len(question) if shape.connector.qformer else 0
        return PromptLength(1 + before, after, math.ceil(letters / shape.characters_a_word))

    label, describe = length(classify_question(config, names, clip=clip)), length(config.describe)
    return PromptLengths(label, describe, len(names), len(names) * (shape.tokens_a_label - 1), shape.tokens_a_label)


def _texts(manifest: Manifest, question: str, clip: bool) -> tuple[list[str], list[str], int]:
    """Return the texts before and after the frames, and how many begin-of-sequence tokens there are before."""
    frames = next(index for index, part in enumerate(manifest.layout) if isinstance(part, FramesSegment))
    face = manifest.components.face
    predicted = face is not None and any(output.name == "age" for output in face.outputs)
    described = predicted and manifest.prompt.use_demographics
    sentence = _sentence(manifest.prompt, manifest.face_labels, clip) if described else ""

    def filled(parts: Sequence[object]) -> list[str]:
        texts = [part.text for part in parts if isinstance(part, TextSegment)]
        return [text.replace("{demographics}", sentence).replace("{question}", question) for text in texts]

    before, after = filled(manifest.layout[:frames]), filled(manifest.layout[frames + 1 :])
    return before, after, frames - len(before)


def _sentence(config: PromptConfig, labels: FaceLabels, clip: bool) -> str:
    """Write a sentence about someone; others are a token longer or shorter."""
    person = {"race": labels.race[0], "gender": labels.gender[0].lower(), "age": labels.age[2]}
    return config.demographics.format(medium=medium(clip), **person)
