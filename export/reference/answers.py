"""What LLaMA reads when it is asked about pictures: whole prompts with the answers that the reference gives."""

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
"""How long a description may be; greedy."""


@dataclass(frozen=True)
class AnsweredPrompts:
    """Prompts as LLaMA reads them, and an answer to each."""

    prompts: list[Tensor]
    """Embeddings [P, E], begin-of-sequence first."""
    answers: list[list[int]]
    """Token ids; none is empty."""
    descriptions: list[str]
    """What the reference wrote of each picture, in words; their prompts are the last ones."""

    @property
    def described(self) -> list[NDArray[np.float32]]:
        """Prompts that ask for a description, [P, E] each."""
        asked = self.prompts[len(self.prompts) - len(self.descriptions) :]
        return [np.ascontiguousarray(prompt.float().cpu().numpy()) for prompt in asked]


@torch.inference_mode()
def answered_prompts(
    model: EmoLlamaForConditionalGeneration, samples: Sequence[Sample], labels: Sequence[str], *, seen: bool = True
) -> AnsweredPrompts:
    """Ask for the label and for a description of every picture.

    The answers are the reference's own: its most probable label, and what it writes, as an image's answers will be on
    the device. ``seen=False`` gives the same text without visual and face tokens, and the same answers: what a
    collector that reads text alone would get.
    """
    pairs = [model.crops(sample.image, sample.box) for sample in samples]
    faces = [crop.pixels for _, crop in pairs if crop]
    features = model.encode_crops(np.stack([shown.pixels for shown, _ in pairs]), np.stack(faces) if faces else None)
    found = AnsweredPrompts([], [], [])
    for question in (classify_question(model.config.prompt, labels), model.config.prompt.describe):
        turns = model.embed_turns(features, [PromptInput(slice(row, row + 1), question) for row in range(len(samples))])
        prompts = [turn.embeddings for turn in turns]
        if question == model.config.prompt.describe:
            answers = generate_tokens(model.language, prompts, DESCRIPTION)
            found.descriptions.extend(model.tokenizer.decode(answer) for answer in answers)
        else:
            branches = [model.tokenizer.encode_answer(turns[0].prompt.after, label) for label in labels]
            answers = _likeliest(model, prompts, branches)
        if not seen:
            blind = [PromptInput(slice(row, row + 1), question) for row in range(len(samples))]
            prompts = [turn.embeddings for turn in model.embed_turns(features, blind, ablate=BRANCHES)]
        end = model.config.language.eos_token_id
        found.prompts.extend(prompts)
        found.answers.extend([*answer, end] for answer in answers)
    return found


def _likeliest(
    model: EmoLlamaForConditionalGeneration, prompts: Sequence[Tensor], branches: Sequence[Sequence[int]]
) -> list[list[int]]:
    rows = branch_log_probs(model.language, [PackedRow(prompt, branches) for prompt in prompts])
    best = [int(np.argmax([float(tokens.sum()) for tokens in row])) for row in rows]
    return [list(branches[index]) for index in best]
