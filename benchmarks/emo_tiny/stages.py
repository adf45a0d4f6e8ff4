"""Losses of each training stage of emo-tiny.

1. ``face``: the face network on its eight exact targets, its trunk under a probe that is thrown away.
2. ``vision``: the vision tower under a probe alone, standing in for EVA-CLIP's pre-training.
3. ``language``: connector, Face Info Mining and LLaMA on instruction pairs about images and clips, both
   networks frozen, as LLaMA-VID freezes its tower in every stage, and a probe on each branch's tokens.
4. ``settle``: more of the same at a lower rate, without the probes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as fn

from emo_edge.benchmarks.emo_tiny.data import Arrays
from emo_edge.benchmarks.emo_tiny.instructions import Instruction, category_instruction, conversation_instruction
from emo_edge.benchmarks.emo_tiny.linear_probes import BranchProbes
from emo_edge.benchmarks.emo_tiny.loop import Losses
from emo_edge.export.models.facexformer import FaceOutputs
from emo_edge.export.models.llama import PackedRow, branch_log_probs
from emo_edge.export.reference.frames import FrameFeatures
from emo_edge.export.reference.model import EmbeddedPrompt, EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS

ReadFeatures = Callable[[NDArray[np.int64]], FrameFeatures]
"""Features of the rows of a split from the frozen networks."""

DEMOGRAPHICS_PROBABILITY = 0.7
"""Fraction of training prompts that carry the age/gender/race sentence, so that both prompts are known."""


def batch_rows(seed: int, step: int, rows: int, batch_size: int) -> NDArray[np.int64]:
    """Row numbers of one step: a fresh permutation each epoch, the same for the same seed and step."""
    per_epoch = rows // batch_size
    order = np.random.default_rng([seed, step // per_epoch]).permutation(rows)
    start = (step % per_epoch) * batch_size
    return np.sort(order[start : start + batch_size])


def _targets(arrays: Arrays, rows: NDArray[np.int64], name: str, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(arrays[name][rows])).to(like.device)


def face_losses(outputs: FaceOutputs, arrays: Arrays, rows: NDArray[np.int64]) -> Losses:
    """Weigh the face network's losses; parsing counts where its map was computed."""

    def target(name: str) -> Tensor:
        return _targets(arrays, rows, name, outputs.pose)

    attributes = target("attributes").float()
    drawn = attributes >= 0
    losses = {
        "landmarks": 10 * (outputs.landmarks.float() - target("landmarks")).abs().mean(),
        "pose": 2 * (outputs.pose.float() - target("pose")).abs().mean(),
        "attributes": fn.binary_cross_entropy_with_logits(outputs.attributes.float()[drawn], attributes[drawn]),
        "visibility": fn.binary_cross_entropy_with_logits(outputs.visibility.float(), target("visibility").float()),
    }
    for name, logits in (("age", outputs.age), ("gender", outputs.gender), ("race", outputs.race)):
        losses[name] = 0.5 * fn.cross_entropy(logits.float(), target(name).long())
    if outputs.segmentation is not None:
        logits, classes = outputs.segmentation.float(), target("parsing").long()
        losses["parsing"] = fn.cross_entropy(logits, classes)
        losses["parsing dice"] = 0.5 * dice_loss(logits, classes)
    return losses


def dice_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, averaged over the classes drawn in the batch.

    Every class weighs the same, so brows and lips count although they cover few pixels. FaceXFormer's paper adds it
    to the cross-entropy, too.

    Args:
        logits: float [N, C, H, W].
        classes: integer [N, H, W].
    """
    probabilities = logits.softmax(1)
    drawn = fn.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2)
    area = drawn.sum((0, 2, 3))
    overlap = 2 * (probabilities * drawn).sum((0, 2, 3)) / (probabilities.sum((0, 2, 3)) + area)
    return 1 - overlap[area > 0].mean()


class Guess(NamedTuple):
    """Predictions of a probe."""

    units: Tensor
    """[N, 17] logits of the intensities."""
    expression: Tensor
    """[N, 8] logits."""
    landmarks: Tensor
    """[N, 68, 2] in the face crop's [-1, 1]."""
    pose: Tensor
    """[N, 3] radians."""


class Probe(nn.Module):
    """Temporary linear head on a network's features: action units, expression, landmarks, pose.

    It is trained with the network and thrown away. Landmarks start at the mean face, the rest at zero.
    """

    def __init__(self, inputs: int, mean_face: Tensor) -> None:
        super().__init__()
        self.widths = (len(ACTION_UNITS), len(EXPRESSIONS), 136, 3)
        self.out = nn.Linear(inputs, sum(self.widths))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean_face", mean_face)

    def read(self, features: Tensor) -> Guess:
        """Predict from flat features [N, inputs]."""
        units, expression, landmarks, pose = torch.split(self.out(features).float(), list(self.widths), dim=-1)
        return Guess(units, expression, landmarks.view(-1, 68, 2) + self.get_buffer("mean_face"), pose)


class TrunkProbe(Probe):
    """A probe on the face trunk's two deepest maps.

    The decoder reads a map whose values hold no position, and alone it stays at the mean face for 20,000
    drawings; with the trunk supervised directly it leaves the mean face after 6,000. FaceXFormer's paper trains
    expression with the other tasks too; the released network, and so ours, has no head for it.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], mean_face: Tensor) -> None:
        super().__init__(sum(width * side * side for width, side in zip(widths, sides, strict=True)), mean_face)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(self, stages: Sequence[Tensor]) -> Guess:
        """Read the last two maps [N, C, h, w]."""
        cells = [norm(stage.permute(0, 2, 3, 1)).flatten(1) for norm, stage in zip(self.norms, stages, strict=True)]
        return self.read(0.3 * torch.cat(cells, dim=1))


class VisionProbe(Probe):
    """A probe on what the connector will read of the vision tower: class token and 2 x 2 pooled patches."""

    def __init__(self, width: int, mean_face: Tensor) -> None:
        super().__init__(5 * width, mean_face)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Guess:
        """Read features [N, T, D], class token first."""
        side = math.isqrt(features.shape[1] - 1)
        patches = features[:, 1:].transpose(1, 2).reshape(len(features), -1, side, side)
        pooled = fn.avg_pool2d(patches, side // 2).flatten(2).transpose(1, 2)
        return self.read(self.norm(torch.cat([features[:, :1], pooled], dim=1)).flatten(1))


def probe_losses(guess: Guess, arrays: Arrays, rows: NDArray[np.int64]) -> Losses:
    """Weigh a probe's losses on the rows of the batch."""
    units, expression, landmarks, pose = guess
    return {
        "probe units": 3 * fn.binary_cross_entropy_with_logits(units, _targets(arrays, rows, "action_units", units)),
        "probe expression": 0.5 * fn.cross_entropy(expression, _targets(arrays, rows, "expression", units).long()),
        "probe landmarks": 5 * (landmarks - _targets(arrays, rows, "landmarks", units)).abs().mean(),
        "probe pose": 2 * (pose - _targets(arrays, rows, "pose", units)).abs().mean(),
    }


@dataclass(frozen=True)
class Example:
    """One image or clip of a language batch: its frames' rows and its truth."""

    rows: NDArray[np.int64]
    expression: str
    cues: tuple[int, ...]
    units: NDArray[np.float32]
    """[F, 17] intensities, a row a frame."""

    @property
    def clip(self) -> bool:
        """True where the prompts say "video"."""
        return len(self.rows) > 1


def examples_at(arrays: Arrays, items: Sequence[int], frames: int, *, halve_every: int = 0) -> list[Example]:
    """Collect items (images, or clips of ``frames`` rows); a clip's cues are those visible in any frame.

    One clip in ``halve_every`` shows only every other frame, so that the model knows more than one length.
    """
    examples = []
    for index, item in enumerate(items):
        halved = halve_every > 0 and index % halve_every == 0
        rows = np.arange(item * frames, (item + 1) * frames, 2 if halved else 1)
        cue = arrays["cues"][rows].max(0)
        cues = tuple(unit for unit, cue in zip(ACTION_UNITS, cue, strict=True) if cue)
        examples.append(Example(rows, EXPRESSIONS[arrays["expression"][rows[0]]], cues, arrays["action_units"][rows]))
    return examples


def language_losses(
    model: EmoLlamaForConditionalGeneration,
    read: ReadFeatures,
    examples: Sequence[Example],
    rng: random.Random,
    probes: BranchProbes | None = None,
) -> Losses:
    """Mean negative log-likelihood of the answers' tokens, end-of-sequence included.

    A random half of the examples gets a category question, the others a conversation. ``read`` gives the frozen
    networks' features of the examples' rows. With ``probes`` come their losses on the visual tokens.
    """
    shuffled = rng.sample(examples, len(examples))
    features = read(np.concatenate([example.rows for example in shuffled]))
    losses: Losses = {}
    visual: list[Tensor] = []
    half, start = len(shuffled) // 2, 0
    for kind, part in (("category", shuffled[:half]), ("conversation", shuffled[half:])):
        frames = slice(start, start + sum(len(example.rows) for example in part))
        start = frames.stop
        pairs = [_instruction(kind, example, rng) for example in part]
        prompts = _embedded_prompts(model, features.frames(frames), part, pairs, rng)
        packed = _answer_rows(model, prompts, pairs)
        scored = branch_log_probs(model.language, packed, shared=_shared_start(model, prompts))
        log_probs = [branches[0] for branches in scored]
        losses[kind] = -torch.stack([answer.mean() for answer in log_probs]).mean()
        visual += [prompt.visual for prompt in prompts]
    if probes:
        units, expressions = [example.units for example in shuffled], [example.expression for example in shuffled]
        losses |= probes.losses(visual, units, expressions)
    return losses


def _instruction(kind: str, example: Example, rng: random.Random) -> Instruction:
    medium = "video" if example.clip else "image"
    if kind == "category":
        return category_instruction(example.expression, rng, medium=medium)
    return conversation_instruction(example.expression, example.cues, rng, medium=medium)


def _embedded_prompts(
    model: EmoLlamaForConditionalGeneration,
    features: FrameFeatures,
    examples: Sequence[Example],
    pairs: Sequence[Instruction],
    rng: random.Random,
) -> list[EmbeddedPrompt]:
    prompts, start = [], 0
    for pair, example in zip(pairs, examples, strict=True):
        own = slice(start, start + len(example.rows))
        prompts.append(PromptInput(own, pair.question, example.clip, rng.random() < DEMOGRAPHICS_PROBABILITY))
        start = own.stop
    return model.embed_prompts(features, prompts)


def _answer_rows(
    model: EmoLlamaForConditionalGeneration, prompts: Sequence[EmbeddedPrompt], pairs: Sequence[Instruction]
) -> list[PackedRow]:
    eos = model.config.language.eos_token_id
    return [
        PackedRow(prompt.embeddings, [[*model.tokenizer.encode_answer(prompt.prompt.after, pair.answer), eos]])
        for prompt, pair in zip(prompts, pairs, strict=True)
    ]


def _shared_start(model: EmoLlamaForConditionalGeneration, prompts: Sequence[EmbeddedPrompt]) -> int:
    """Count the embeddings that all prompts start with, begin-of-sequence included: those before the visual tokens."""
    places = zip(*(model.tokenizer.encode(prompt.prompt.before) for prompt in prompts), strict=False)
    return 1 + sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, places))
