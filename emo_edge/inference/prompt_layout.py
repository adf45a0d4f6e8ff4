"""A bundle's layout and prompts as token ids and embeddings for the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import BeginSegment, FramesSegment, TextSegment, answer_ids, demographic_sentence
from emo_edge.errors import BundleError, InputError
from emo_edge.inference.probability import softmax
from emo_edge.runtimes.base.sessions import Chunk, Tokenizer
from emo_edge.tensors import Tensor

HEADS = ("age", "gender", "race")


def demographics_of(manifest: Manifest, outputs: Mapping[str, Tensor], rows: slice, *, clip: bool) -> str:
    """Write the age/gender/race sentence from the face network's logits; a clip takes the mean over its frames."""
    age, gender, race = (softmax(outputs[name][rows]).mean(0) for name in HEADS)
    return demographic_sentence(manifest.prompt, manifest.face_labels, age, gender, race, clip=clip)


def frame_tokens(manifest: Manifest, visual: Tensor, face: Tensor | None) -> NDArray[np.float32]:
    """Order each frame's embeddings as the layout says.

    Args:
        manifest: holds the layout.
        visual: [F, n, E], the connector's output, its groups in the layout's order.
        face: [F, k, E], the face tokens, or None if the checkpoint has none.

    Returns:
        float32 [F * tokens per frame, E].
    """
    outputs, parts = {"connector": visual, "face": face}, []
    used = dict.fromkeys(outputs, 0)
    for group in manifest.frames_segment.groups:
        output, start = outputs[group.component], used[group.component]
        used[group.component] += group.count
        if output is not None:
            parts.append(output[:, start : start + group.count])
    for component, output in outputs.items():
        count = 0 if output is None else output.shape[1]
        if used[component] and count != used[component]:
            raise BundleError(f"the layout has {used[component]} tokens a frame of {component}, which gave {count}")
    joined = np.concatenate(parts, axis=1)
    return np.ascontiguousarray(joined.reshape(-1, joined.shape[-1]), np.float32)


def picture_chunks(manifest: Manifest, pictures: Sequence[Sequence[Chunk]]) -> list[Chunk]:
    """Return the chunks of all frames; raise BundleError for a picture of another length than the layout says."""
    planned = manifest.frames_segment.tokens_per_frame
    for chunks in pictures:
        count = sum(len(chunk) for chunk in chunks)
        if count != planned:
            raise BundleError(
                f"the mmproj fills {count} positions with a picture, the layout has {planned}: import the files again"
            )
    return [chunk for chunks in pictures for chunk in chunks]


class Prompt:
    """One question about some frames, filled into the layout."""

    def __init__(self, manifest: Manifest, question: str, demographics: str = "") -> None:
        self.layout, self.question = manifest.layout, question
        self.demographics, self.space = demographics, " " if manifest.prompt.answer_space else ""

    def chunks(self, language: Tokenizer, frames: Sequence[Chunk]) -> list[Chunk]:
        """Return token ids and embeddings in prompt order, ``frames`` in their place; adjoining tokens are one chunk.

        Raises InputError for a question with a control token of the model's, where the template is read for them.
        """
        chunks: list[Chunk] = []
        for segment in self.layout:
            if isinstance(segment, FramesSegment):
                own = list(frames)
            elif isinstance(segment, BeginSegment):
                own = [[language.begin_token]]
            else:
                own = [self._tokens(language, segment)]
            for chunk in own:
                if chunks and isinstance(chunks[-1], list) and isinstance(chunk, list):
                    chunks[-1] = [*chunks[-1], *chunk]
                else:
                    chunks.append(chunk)
        return chunks

    def branches(self, language: Tokenizer, labels: Sequence[str]) -> list[list[int]]:
        """Return the token ids that each label adds to the prompt, tokenised together with the text before it."""
        last = self.layout[-1]
        if not isinstance(last, TextSegment):
            return label_branches(language, "", labels, space=self.space)
        if last.control:
            for label in labels:
                _require_plain(language, "label", label)
        return label_branches(language, self._fill(last), labels, space=self.space, control=last.control)

    def _tokens(self, language: Tokenizer, segment: TextSegment) -> list[int]:
        if segment.control:
            _require_plain(language, "question", self.question)
            _require_plain(language, "sentence", self.demographics)
        return language.tokenize(self._fill(segment), control=segment.control)

    def _fill(self, segment: TextSegment) -> str:
        return segment.text.replace("{demographics}", self.demographics).replace("{question}", self.question)


def _require_plain(language: Tokenizer, what: str, text: str) -> None:
    """Raise InputError for a text that holds the name of a control token, which would end the user's turn."""
    if language.tokenize(text) != language.tokenize(text, control=True):
        raise InputError(f"the {what} {text!r} holds the name of a control token of this model: leave it out")


def label_branches(
    language: Tokenizer, context: str, labels: Sequence[str], *, space: str = " ", control: bool = False
) -> list[list[int]]:
    """Return the token ids that each label adds behind ``context``; raise InputError where they merge with it.

    ``space`` is between context and label; ``control`` as in `LanguageSession.tokenize`.
    """
    branches = []
    tokenize = partial(language.tokenize, control=control)
    for label in labels:
        ids = answer_ids(tokenize, context, label, space)
        if ids is None:
            raise InputError(f"the label {label!r} cannot be scored: it merges with the text before it")
        branches.append(ids)
    return branches
