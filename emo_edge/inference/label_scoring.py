"""Label scores of the language model from one prefill, and written answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.label_sets import ask_for_labels, resolve_labels
from emo_edge.bundle.manifest import QUESTION_INPUT, Manifest
from emo_edge.bundle.question_tokenizer import open_questions
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.inference.frame_features import VisualInput
from emo_edge.inference.output_checks import require_sound
from emo_edge.inference.probability import tempered
from emo_edge.inference.prompt_layout import Prompt, frame_tokens, picture_chunks
from emo_edge.inference.results import Request
from emo_edge.runtimes.base.sessions import Chunk
from emo_edge.runtimes.loading.engines import LanguageChain, PictureChain
from emo_edge.tensors import Tensor
from emo_edge.utils.timing import Stopwatch

BLANK_SCORES = 32
"""Prompts and label lists whose blank-image scores are kept, the latest ones."""


@dataclass(frozen=True)
class LabelQuestion:
    """A request's labels as a bundle asks for them and scores them."""

    labels: tuple[str, ...]
    question: str
    temperature: float
    prior_correction: bool


@dataclass(frozen=True)
class LabelScores:
    """The probability of each label, and the answers."""

    probabilities: dict[str, float]
    answers: dict[str, str]


NO_LABEL_QUESTION = LabelQuestion((), "", 1.0, prior_correction=False)
"""Of a bundle that gives no labels."""
NO_LABEL_SCORES = LabelScores({}, {})
"""Of a bundle that gives no labels."""


class LabelScorer:
    """A bundle's prompts and labels over its open language chain."""

    def __init__(self, bundle: Bundle, chain: LanguageChain | PictureChain, device: str) -> None:
        """Keep the chain, which runs on ``device``."""
        self.manifest, self.chain, self.device = bundle.manifest, chain, device
        self.questions = open_questions(bundle)
        self._blank_scores: dict[tuple[str, ...], NDArray[np.float64]] = {}

    def check(self, request: Request, frames: int) -> None:
        """Raise InputError for a request that no image could fulfil, or a clip that this model cannot read."""
        resolve_labels(self.manifest, request.labels)
        requested_temperature(self.manifest, request)
        self.check_pictures(frames)
        needed, size = frames * self.manifest.frames_segment.tokens_per_frame, self.chain.language.context_size
        if needed >= size:
            raise InputError(f"{frames} frames need {needed} positions, the context has {size}: use fewer frames")

    def check_pictures(self, frames: int) -> None:
        """Raise InputError for several frames where the model was trained on one picture."""
        mmproj = self.manifest.components.mmproj
        if frames > 1 and mmproj is not None and mmproj.pictures == "one":
            raise InputError(
                f"this model takes one picture, not a clip of {frames} frames: read single frames (`frames` 1 with "
                "`fps`, or a picture of the clip)"
            )

    def question(self, request: Request, *, clip: bool) -> LabelQuestion:
        """Resolve a request's labels, question, temperature and prior correction; raise InputError as `check` does."""
        manifest, labels = self.manifest, resolve_labels(self.manifest, request.labels)
        choice = request.prior_correction
        corrected = manifest.scoring.prior_correction if choice is None else choice
        return LabelQuestion(
            labels, ask_for_labels(manifest, labels, clip=clip), requested_temperature(manifest, request), corrected
        )

    def score(
        self,
        visual: VisualInput,
        sentence: str,
        request: Request,
        watch: Stopwatch,
        blank: Callable[[], VisualInput],
        *,
        clip: bool,
    ) -> LabelScores:
        """Score the labels and answer the questions of a request.

        Args:
            visual: the frames of one face.
            sentence: age, gender and race, or nothing.
            request: labels, questions and sampling.
            watch: measures the stages.
            blank: returns an evenly grey image, for prior correction.
            clip: True if the prompt speaks of a video.
        """
        manifest, asked = self.manifest, self.question(request, clip=clip)
        prompt = Prompt(manifest, asked.question, sentence)
        scores = self._label_scores(visual, prompt, asked.labels, watch)
        if asked.prior_correction:
            scores = scores - self._scores_of_blank(blank, prompt, asked.labels, watch)
        answers = {
            question: self._answer(visual, Prompt(manifest, question, sentence), request, watch)
            for question in (manifest.prompt.describe if request.describe else None, request.ask)
            if question is not None
        }
        probabilities = dict(zip(asked.labels, tempered(scores, asked.temperature).tolist(), strict=True))
        return LabelScores(probabilities, answers)

    def _prefill(self, visual: VisualInput, prompt: Prompt, watch: Stopwatch) -> None:
        """Make the prompt about these frames the language model's context."""
        tokens: list[Chunk]
        if isinstance(self.chain, PictureChain):
            tokens = picture_chunks(self.manifest, visual.pictures)
        else:
            with watch("connector"):
                outputs = self.chain.connector.run(self._connector_feed(visual, prompt.question))
                require_sound("connector", outputs, self.device)
            tokens = [frame_tokens(self.manifest, outputs["visual_tokens"], visual.face_tokens)]
        with watch("prefill"):
            self.chain.language.prefill(prompt.chunks(self.chain.language, tokens))

    def _connector_feed(self, visual: VisualInput, question: str) -> dict[str, Tensor]:
        if visual.features is None:
            raise ValueError("the vision net did not run")
        feed: dict[str, Tensor] = {"features": visual.features}
        if self.questions:
            ids = np.array([self.questions.encode(question)] * len(visual), np.int64)
            feed |= {QUESTION_INPUT: ids, "question_mask": np.ones_like(ids)}
        return feed

    def _label_scores(
        self, visual: VisualInput, prompt: Prompt, labels: tuple[str, ...], watch: Stopwatch
    ) -> NDArray[np.float64]:
        """Log-probability of each label's whole token sequence as the answer: one prefill, no decoding."""
        self._prefill(visual, prompt, watch)
        with watch("score"):
            log_probs = self.chain.language.score(prompt.branches(self.chain.language, labels))
        return np.array([float(tokens.sum()) for tokens in log_probs])

    def _scores_of_blank(
        self, blank: Callable[[], VisualInput], prompt: Prompt, labels: tuple[str, ...], watch: Stopwatch
    ) -> NDArray[np.float64]:
        """Label scores of the same prompt about a blank image: the prior of the words alone."""
        key = (prompt.question, prompt.demographics, *labels)
        scores = self._blank_scores.pop(key, None)
        if scores is None:
            scores = self._label_scores(blank(), prompt, labels, watch)
        self._blank_scores[key] = scores
        if len(self._blank_scores) > BLANK_SCORES:
            # The first key is the one whose use is longest ago: each use moves its key to the end.
            del self._blank_scores[next(iter(self._blank_scores))]
        return scores

    def _answer(self, visual: VisualInput, prompt: Prompt, request: Request, watch: Stopwatch) -> str:
        self._prefill(visual, prompt, watch)
        with watch("answer"):
            pieces = []
            for piece in self.chain.language.generate(request.sampling):
                pieces.append(piece)
                if request.on_piece:
                    request.on_piece(piece)
            if request.on_piece:
                request.on_piece("\n")
        return "".join(pieces).strip()


def requested_temperature(manifest: Manifest, request: Request) -> float:
    """Return the temperature of a request, by default the bundle's; raise InputError for one not above 0."""
    temperature = manifest.scoring.temperature if request.temperature is None else request.temperature
    if not 0 < temperature < math.inf:
        raise InputError(f"the temperature of the labels must be above 0, not {temperature}")
    return temperature
