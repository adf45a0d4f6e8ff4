"""Whole prompts about pictures as LLaMA reads them, with the answers that the reference gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.prompts import classify_question
from emo_edge.export.models.llama import PackedRow, branch_log_probs, generate_tokens
from emo_edge.export.reference.model import BRANCHES, EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.runtimes.base.sessions import Sampling

DESCRIPTION = Sampling(max_new_tokens=80)
"""Of every description: greedy, and at most that long."""


@dataclass(frozen=True)
class AnsweredPrompts:
    """Prompts as LLaMA reads them, and an answer to each."""

    prompts: list[Tensor]
    """Embeddings [P, E], begin-of-sequence first."""
    answers: list[list[int]]
    """Token ids; none is empty."""
    descriptions: list[str]
    """Text that the reference wrote about each picture; their prompts are the last ones."""

    @property
    def described(self) -> list[NDArray[np.float32]]:
        """Prompts that ask for a description, [P, E] each."""
        prompts = self.prompts[len(self.prompts) - len(self.descriptions) :]
        return [np.ascontiguousarray(prompt.float().cpu().numpy()) for prompt in prompts]


@torch.inference_mode()
def answered_prompts(
    model: EmoLlamaForConditionalGeneration, samples: Sequence[Sample], labels: Sequence[str], *, visual: bool = True
) -> AnsweredPrompts:
    """Ask for the label and for a description of every picture.

    The answers are the reference's own: its most probable label, and what it writes, as an image's answers will be on
    the device. ``visual=False`` gives the same text without visual and face tokens, and the same answers: the
    input of a collector that reads text alone.
    """
    pairs = [model.crops(sample.image, sample.box) for sample in samples]
    faces = [crop.pixels for _, crop in pairs if crop]
    features = model.encode_crops(np.stack([crop.pixels for crop, _ in pairs]), np.stack(faces) if faces else None)
    answered = AnsweredPrompts([], [], [])
    frames = [slice(row, row + 1) for row in range(len(samples))]
    for question in (classify_question(model.config.prompt, labels), model.config.prompt.describe):
        inputs = [PromptInput(rows, question) for rows in frames]
        embedded = model.embed_prompts(features, inputs)
        prompts = [prompt.embeddings for prompt in embedded]
        if question == model.config.prompt.describe:
            answers = generate_tokens(model.language, prompts, DESCRIPTION)
            answered.descriptions.extend(model.tokenizer.decode(answer) for answer in answers)
        else:
            branches = model.answer_branches(embedded[0].prompt, labels)
            answers = _most_probable(model, prompts, branches)
        if not visual:
            prompts = [prompt.embeddings for prompt in model.embed_prompts(features, inputs, ablate=BRANCHES)]
        end = model.config.language.eos_token_id
        answered.prompts.extend(prompts)
        answered.answers.extend([*answer, end] for answer in answers)
    return answered


def _most_probable(
    model: EmoLlamaForConditionalGeneration, prompts: Sequence[Tensor], branches: Sequence[Sequence[int]]
) -> list[list[int]]:
    rows = branch_log_probs(model.language, [PackedRow(prompt, branches) for prompt in prompts])
    best = [int(np.argmax([float(tokens.sum()) for tokens in row])) for row in rows]
    return [list(branches[index]) for index in best]
