"""What the language model says of some frames: label scores from one prefill, and written answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.manifest import QUESTION_INPUT, Manifest, ask_for_labels, resolve_labels
from emo_edge.bundle.question_tokenizer import open_questions
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.inference.probability import softmax
from emo_edge.inference.prompt_layout import Prompt, frame_tokens
from emo_edge.inference.results import Request
from emo_edge.runtimes.loading.engines import LanguageChain
from emo_edge.tensors import Tensor
from emo_edge.utils.timing import Stopwatch


@dataclass(frozen=True)
class VisualInput:
    """F frames as the networks give them to the language model; nothing here depends on the question."""

    features: Tensor
    """[F, T, D], of the vision net."""
    face_tokens: Tensor | None
    """[F, k, E]; None where the face network gives none."""


@dataclass(frozen=True)
class LabelScores:
    """What was asked of the language model, and what it said."""

    labels: tuple[str, ...]
    question: str
    temperature: float
    prior_correction: bool
    probabilities: dict[str, float]
    answers: dict[str, str]


NO_LABEL_SCORES = LabelScores((), "", 1.0, prior_correction=False, probabilities={}, answers={})
"""Of a bundle without a language model."""


class LabelScorer:
    """A bundle's prompts and labels over its open language chain."""

    def __init__(self, bundle: Bundle, chain: LanguageChain) -> None:
        self.manifest, self.chain = bundle.manifest, chain
        self.questions = open_questions(bundle)
        self._blank_scores: dict[tuple[str, ...], NDArray[np.float64]] = {}

    def check(self, request: Request, frames: int) -> None:
        """Raise InputError for what no picture could answer, or a clip of more frames than the context holds."""
        resolve_labels(self.manifest, request.labels)
        _temperature(self.manifest, request)
        needed, room = frames * self.manifest.frames_segment.tokens_per_frame, self.chain.language.context_size
        if needed >= room:
            raise InputError(f"{frames} frames need {needed} positions, the context has {room}: use fewer frames")

    def ask(
        self,
        shown: VisualInput,
        sentence: str,
        request: Request,
        watch: Stopwatch,
        blank: Callable[[], VisualInput],
        *,
        clip: bool,
    ) -> LabelScores:
        """Score the labels and answer the questions of a request.

        Args:
            shown: the frames of one face.
            sentence: age, gender and race, or nothing.
            request: what is asked.
            watch: measures the stages.
            blank: gives an even picture, if scores are set against one.
            clip: whether the prompt says "video".
        """
        manifest, labels = self.manifest, resolve_labels(self.manifest, request.labels)
        turn = Prompt(manifest, ask_for_labels(manifest, labels, clip=clip), sentence)
        scores = self._label_scores(shown, turn, labels, watch)
        wanted, temperature = request.prior_correction, _temperature(manifest, request)
        corrected = manifest.scoring.prior_correction if wanted is None else wanted
        if corrected:
            scores = scores - self._blank(blank, turn, labels, watch)
        shares = softmax(scores / temperature)
        answers = {
            question: self._answer(shown, Prompt(manifest, question, sentence), request, watch)
            for question in (manifest.prompt.describe if request.describe else None, request.ask)
            if question is not None
        }
        probabilities = dict(zip(labels, shares.tolist(), strict=True))
        return LabelScores(labels, turn.question, temperature, corrected, probabilities, answers)

    def _prefill(self, shown: VisualInput, turn: Prompt, watch: Stopwatch) -> None:
        """Make the prompt about these frames the language model's context."""
        feed: dict[str, Tensor] = {"features": shown.features}
        if self.questions:
            ids = np.array([self.questions.encode(turn.question)] * len(shown.features), np.int64)
            feed |= {QUESTION_INPUT: ids, "question_mask": np.ones_like(ids)}
        with watch("connector"):
            visual = self.chain.connector.run(feed)["visual_tokens"]
        with watch("prefill"):
            tokens = frame_tokens(self.manifest, visual, shown.face_tokens)
            self.chain.language.prefill(turn.chunks(self.chain.language, tokens))

    def _label_scores(
        self, shown: VisualInput, turn: Prompt, labels: tuple[str, ...], watch: Stopwatch
    ) -> NDArray[np.float64]:
        """Log-probability of each label's whole token sequence as the answer: one prefill, no decoding."""
        self._prefill(shown, turn, watch)
        with watch("score"):
            found = self.chain.language.score(turn.branches(self.chain.language, labels))
        return np.array([float(tokens.sum()) for tokens in found])

    def _blank(
        self, blank: Callable[[], VisualInput], turn: Prompt, labels: tuple[str, ...], watch: Stopwatch
    ) -> NDArray[np.float64]:
        """Label scores of the same prompt about an even picture: what the words alone suggest."""
        key = (turn.question, turn.demographics, *labels)
        if key not in self._blank_scores:
            self._blank_scores[key] = self._label_scores(blank(), turn, labels, watch)
        return self._blank_scores[key]

    def _answer(self, shown: VisualInput, turn: Prompt, request: Request, watch: Stopwatch) -> str:
        self._prefill(shown, turn, watch)
        with watch("answer"):
            pieces = []
            for piece in self.chain.language.generate(request.sampling):
                pieces.append(piece)
                if request.on_piece:
                    request.on_piece(piece)
            if request.on_piece:
                request.on_piece("\n")
        return "".join(pieces).strip()


def _temperature(manifest: Manifest, request: Request) -> float:
    wanted = manifest.scoring.temperature if request.temperature is None else request.temperature
    if not 0 < wanted < math.inf:
        raise InputError(f"the temperature of the labels must be above 0, not {wanted}")
    return wanted
