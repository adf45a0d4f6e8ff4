"""Outputs of the PyTorch reference on samples: the baseline that every variant is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.prompts import classify_question
from emo_edge.export.models.llama import PackedRow, branch_log_probs
from emo_edge.export.reference.frames import FrameFeatures
from emo_edge.export.reference.model import EmbeddedPrompt, EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.inference.probability import softmax
from emo_edge.machine.cpus import limit_torch_threads
from emo_edge.tensors import Tensor

BATCH = 16


@dataclass(frozen=True)
class Reference:
    """Inputs and outputs of every component for N samples, and the label distributions at the end."""

    labels: tuple[str, ...]
    vision_inputs: NDArray[np.uint8]
    vision: dict[str, NDArray[np.float32]]
    """Outputs of the vision tower: the features, and what tokens are chosen by, where they are."""
    face_inputs: NDArray[np.uint8] | None
    face: dict[str, NDArray[np.float32]]
    question: dict[str, NDArray[np.int64]]
    """Inputs of the connector besides the tower's outputs, [N, L] each: one question for all, or nothing."""
    visual_tokens: NDArray[np.float32]
    prompts: list[NDArray[np.float32]]
    """Embedded prompts [P, E]."""
    frames_at: list[int]
    """Position in each prompt of the frame's first token: those of the connector, then those of the face network."""
    branches: list[list[int]]
    """Tokens of each label."""
    probabilities: NDArray[np.float64]
    """[N, labels], adding up to one."""

    def first(self, count: int) -> Reference:
        """Return the same of the first ``count`` samples alone."""
        return replace(
            self,
            vision_inputs=self.vision_inputs[:count],
            vision={name: value[:count] for name, value in self.vision.items()},
            face_inputs=None if self.face_inputs is None else self.face_inputs[:count],
            face={name: value[:count] for name, value in self.face.items()},
            question={name: value[:count] for name, value in self.question.items()},
            visual_tokens=self.visual_tokens[:count],
            prompts=self.prompts[:count],
            frames_at=self.frames_at[:count],
            probabilities=self.probabilities[:count],
        )

    def of(self, component: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the outputs and the inputs of one graph component, by the graph's names."""
        if component == "vision":
            return dict(self.vision), {"image": self.vision_inputs}
        if component == "face" and self.face_inputs is not None:
            return dict(self.face), {"image": self.face_inputs}
        return {"visual_tokens": self.visual_tokens}, {**self.vision, **self.question}


@torch.inference_mode()
def reference_on(
    model: EmoLlamaForConditionalGeneration,
    samples: Sequence[Sample],
    labels: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reference:
    """Run the reference on every sample, asking for one of ``labels``; ``progress`` gets samples done and in all."""
    limit_torch_threads()
    pairs = [model.crops(sample.image, sample.box) for sample in samples]
    vision = np.stack([crop.pixels for crop, _ in pairs])
    faces = [crop.pixels for _, crop in pairs if crop]
    face = np.stack(faces) if faces else None
    question = classify_question(model.config.prompt, labels)
    parts: list[dict[str, NDArray[np.float32]]] = []
    embedded: list[EmbeddedPrompt] = []
    for start in range(0, len(samples), BATCH):
        rows = slice(start, start + BATCH)
        features = model.encode_crops(vision[rows], None if face is None else face[rows])
        parts.append(_outputs(model, features, question))
        inputs = [PromptInput(slice(row, row + 1), question) for row in range(len(features))]
        embedded += model.embed_prompts(features, inputs)
        progress(len(embedded), len(samples))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    branches = model.answer_branches(embedded[0].prompt, labels)
    prompts = [_array(prompt.embeddings) for prompt in embedded]
    return Reference(
        labels=tuple(labels),
        vision_inputs=vision,
        vision={name: joined.pop(name) for name in features.vision_outputs()},
        face_inputs=face,
        visual_tokens=joined.pop("visual_tokens"),
        face=joined,
        question={name: ids.cpu().numpy() for name, ids in model.question_inputs([question] * len(samples)).items()},
        prompts=prompts,
        frames_at=[_first_frame(model, one) for one in embedded],
        branches=branches,
        probabilities=_probabilities(model, prompts, branches),
    )


def _first_frame(model: EmoLlamaForConditionalGeneration, embedded: EmbeddedPrompt) -> int:
    """Return the position of the first frame's first token."""
    return int(model.config.language.bos_place == "first") + len(model.tokenizer.encode(embedded.prompt.before))


@torch.inference_mode()
def probabilities_with(
    model: EmoLlamaForConditionalGeneration, reference: Reference, component: str, outputs: Mapping[str, Tensor]
) -> NDArray[np.float64] | None:
    """Label distributions [N, labels] of the reference with one graph's outputs in place of its own.

    The rest of the way stays PyTorch, and the age/gender/race sentence the reference's. None for a face network whose
    tokens are not in the prompt.
    """
    if component == "face" and "face_tokens" not in outputs:
        return None
    width = reference.visual_tokens.shape[1]
    if component == "face":
        tokens, offset = outputs["face_tokens"], width
    elif component == "connector":
        tokens, offset = outputs["visual_tokens"], 0
    else:
        tokens, offset = _connected(model, outputs, reference.question), 0
    rows = zip(reference.prompts, reference.frames_at, tokens, strict=True)
    swapped = (_swapped(prompt, start + offset, own) for prompt, start, own in rows)
    return _probabilities(model, swapped, reference.branches)


def _swapped(prompt: NDArray[np.float32], start: int, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    copy = prompt.copy()
    copy[start : start + len(tokens)] = tokens
    return copy


def _connected(
    model: EmoLlamaForConditionalGeneration,
    vision: Mapping[str, Tensor],
    question: Mapping[str, NDArray[np.int64]],
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(vision["features"]), BATCH):
        rows = slice(start, start + BATCH)
        inputs = {name: torch.from_numpy(ids[rows]).to(model.device) for name, ids in question.items()}
        batch = {name: torch.from_numpy(value[rows]).to(model.device, model.dtype) for name, value in vision.items()}
        parts.append(_array(model.connector(**batch, **inputs)))
    return np.concatenate(parts)


def _outputs(
    model: EmoLlamaForConditionalGeneration, features: FrameFeatures, question: str
) -> dict[str, NDArray[np.float32]]:
    outputs = features.vision_outputs()
    outputs["visual_tokens"] = model.visual_tokens(features, [question] * len(features), ablate=("face",))
    outputs |= features.graph_outputs()
    face_tokens = model.face_tokens(features)
    if face_tokens is not None:
        outputs["face_tokens"] = face_tokens
    return {name: _array(value) for name, value in outputs.items()}


def _probabilities(
    model: EmoLlamaForConditionalGeneration, prompts: Iterable[NDArray[np.float32]], branches: list[list[int]]
) -> NDArray[np.float64]:
    scores: list[list[float]] = []
    left = iter(prompts)
    while batch := list(islice(left, BATCH)):
        embedded = [torch.from_numpy(prompt).to(model.device, model.dtype) for prompt in batch]
        rows = [PackedRow(prompt, branches) for prompt in embedded]
        scores += [[float(tokens.sum()) for tokens in row] for row in branch_log_probs(model.language, rows)]
    return softmax(np.array(scores))


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()
