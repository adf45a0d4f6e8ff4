"""The budget of visual tokens of an export: labels with fewer tokens against labels with all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.manifest import VisualTokens
from emo_edge.bundle.prompts import classify_question
from emo_edge.console.progress import Reports
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.networks import FEWEST_KEPT
from emo_edge.export.reference.frames import FrameFeatures
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.export.reference.outputs import BATCH
from emo_edge.inference.probability import softmax
from emo_edge.metrics.gates import profile_gate
from emo_edge.metrics.label_agreement import label_evidence

FRACTIONS = (1 / 36, 1 / 18, 1 / 9, 2 / 9, 1 / 3, 1 / 2, 2 / 3)
"""Of all patches that are tried, the fewest first: of 576, 16 to 384."""
GATE = profile_gate("balanced")
"""Gate that the chosen number must hold, full precision on both sides."""
Progress = Callable[[int, int], None]


def budget_problems(budget: int | str | None, config: EmoLlamaConfig) -> list[str]:
    """Name what keeps a budget from a checkpoint."""
    connector, patches = config.connector, config.vision.grid**2
    if budget is None:
        return []
    if connector.kept_tokens:
        return [f"`visual_tokens`: the checkpoint itself reduces a picture to {connector.kept_tokens} tokens"]
    is_plain = connector.compress_type == "none" and connector.qformer is None and not connector.halves
    if not is_plain or config.vision.class_tokens != 1:
        return ["`visual_tokens` needs a model that reads every patch of a tower with a class token, as LLaVA does"]
    if isinstance(budget, int) and not FEWEST_KEPT <= budget <= patches:
        return [f"`visual_tokens` {budget}: keep {FEWEST_KEPT} to {patches} tokens"]
    return []


def own_budget(config: EmoLlamaConfig) -> VisualTokens | None:
    """Return the budget that a checkpoint was trained with, without evidence: it reads no other number of tokens."""
    kept = config.connector.kept_tokens
    return VisualTokens(kept=kept, patches=config.vision.grid**2) if kept else None


def candidates(patches: int) -> list[int]:
    """Return the numbers of tokens that are tried, the fewest first."""
    return sorted({max(FEWEST_KEPT, round(patches * fraction)) for fraction in FRACTIONS})


def with_budget(
    model: EmoLlamaForConditionalGeneration,
    budget: int | str,
    samples: Sequence[Sample],
    label_set: str,
    reports: Reports,
) -> VisualTokens:
    """Leave the model with a budget of visual tokens; return it with its evidence.

    Args:
        model: with all tokens.
        budget: the tokens to keep; ``auto`` takes the fewest that hold `GATE` on every second sample. They must hold it
            on the others, too, which nothing is chosen on, and whose evidence is returned.
        samples: to compare labels on.
        label_set: name of the labels.
        reports: gets every step.

    Raises AccuracyGateError where ``auto`` finds no number that holds the gate, InputError for fewer than two samples.
    """
    if isinstance(budget, int):
        return BudgetTrial(model, samples, label_set, reports).kept(budget)
    if len(samples) < 2:
        raise InputError("`visual_tokens` auto needs two pictures or more")
    search, remedy = BudgetTrial(model, samples[::2], label_set, reports), "export without one, or name the number"
    for count in candidates(model.config.vision.grid**2):
        if not GATE.failures(chosen_on := search.evidence(count)):
            break
        reports.line(f"{count} visual tokens: {_figures(chosen_on)}: fails {GATE}")
    else:
        raise AccuracyGateError(f"no budget of visual tokens holds {GATE} on {len(samples[::2])} pictures: {remedy}")
    budgeted = BudgetTrial(model, samples[1::2], label_set, reports).kept(count)
    if failures := GATE.failures(budgeted.evidence):
        raise AccuracyGateError(
            f"{count} visual tokens hold {GATE} on the pictures that they were chosen on, and not on the others "
            f"({'; '.join(failures)}): {remedy}"
        )
    return budgeted


@dataclass
class BudgetTrial:
    """Label distributions of one model with different numbers of visual tokens, features computed once."""

    model: EmoLlamaForConditionalGeneration
    samples: Sequence[Sample]
    label_set: str
    reports: Reports

    def __post_init__(self) -> None:
        labels = self.model.config.label_sets[self.label_set]
        self._labels, self._question = labels, classify_question(self.model.config.prompt, labels)
        truth = [labels.index(one.expression) for one in self.samples if one.expression in labels]
        self._truth = truth if len(truth) == len(self.samples) else None
        # Any number: what tokens are chosen by does not depend on it.
        self.model.keep_tokens(FEWEST_KEPT)
        self._features = list(self._encoded(self.reports.of("features")))
        self.model.keep_tokens(None)
        self._all = self._probabilities(self.reports.of("labels with all visual tokens"))

    def evidence(self, count: int) -> dict[str, float]:
        """Leave the model with ``count`` tokens; compare its labels with those with all of them."""
        self.model.keep_tokens(count)
        probabilities = self._probabilities(self.reports.of(f"labels with {count} visual tokens"))
        return label_evidence(self._all, probabilities, self._truth)

    def kept(self, count: int) -> VisualTokens:
        """Leave the model with ``count`` tokens; return the budget with its evidence."""
        evidence, patches = self.evidence(count), self.model.config.vision.grid**2
        self.reports.line(f"{count} of {patches} visual tokens: {_figures(evidence)}, against all of them")
        return VisualTokens(kept=count, patches=patches, evidence=evidence)

    @torch.inference_mode()
    def _encoded(self, progress: Progress) -> Iterator[FrameFeatures]:
        for start in range(0, len(self.samples), BATCH):
            batch = self.samples[start : start + BATCH]
            pairs = [self.model.crops(sample.image, sample.box) for sample in batch]
            faces = [face.pixels for _, face in pairs if face]
            vision = np.stack([crop.pixels for crop, _ in pairs])
            yield self.model.encode_crops(vision, np.stack(faces) if faces else None)
            progress(start + len(batch), len(self.samples))

    @torch.inference_mode()
    def _probabilities(self, progress: Progress) -> NDArray[np.float64]:
        scores = []
        for features in self._features:
            inputs = [PromptInput(slice(row, row + 1), self._question) for row in range(len(features))]
            prompts = self.model.embed_prompts(features, inputs)
            scores.append(self.model.score_prompts(prompts, self._labels))
            progress(sum(map(len, scores)), len(self.samples))
        return softmax(np.concatenate(scores).astype(np.float64))


def _figures(evidence: dict[str, float]) -> str:
    low, high = evidence["label_agreement_low"], evidence["label_agreement_high"]
    return (
        f"label agreement {evidence['label_agreement']:.4f} ({low:.4f} to {high:.4f}), "
        f"mean KL {evidence['kl_mean']:.2e}, {evidence['samples']:.0f} pictures"
    )
