"""A bundle's layout and prompts as token ids and embeddings for the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import BeginSegment, FramesSegment, TextSegment, answer_ids, demographic_sentence
from emo_edge.errors import BundleError, InputError
from emo_edge.inference.probability import softmax
from emo_edge.runtimes.base.sessions import Chunk, LanguageSession
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


class Prompt:
    """One question about some frames, filled into the layout."""

    def __init__(self, manifest: Manifest, question: str, demographics: str = "") -> None:
        self.layout, self.question = manifest.layout, question
        self.demographics = demographics

    def chunks(self, language: LanguageSession, frames: NDArray[np.float32]) -> list[Chunk]:
        """Return token ids and embeddings in prompt order; adjoining tokens are one chunk."""
        chunks: list[Chunk] = []
        for segment in self.layout:
            if isinstance(segment, FramesSegment):
                chunks.append(frames)
                continue
            ids = (
                [language.begin_token] if isinstance(segment, BeginSegment) else language.tokenize(self._fill(segment))
            )
            if chunks and isinstance(chunks[-1], list):
                chunks[-1] += ids
            else:
                chunks.append(ids)
        return chunks

    def branches(self, language: LanguageSession, labels: Sequence[str]) -> list[list[int]]:
        """Return the token ids that each label adds to the prompt, tokenised together with the text before it."""
        context = self._fill(self.layout[-1]) if isinstance(self.layout[-1], TextSegment) else ""
        return label_branches(language, context, labels)

    def _fill(self, segment: TextSegment) -> str:
        return segment.text.replace("{demographics}", self.demographics).replace("{question}", self.question)


def label_branches(language: LanguageSession, context: str, labels: Sequence[str]) -> list[list[int]]:
    """Return the token ids that each label adds behind ``context``; raise InputError where they merge with it."""
    branches = []
    for label in labels:
        ids = answer_ids(language.tokenize, context, label)
        if ids is None:
            raise InputError(f"the label {label!r} cannot be scored: it merges with the text before it")
        branches.append(ids)
    return branches
