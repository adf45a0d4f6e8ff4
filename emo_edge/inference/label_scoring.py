"""Label scores of the language model from one prefill, and written answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.label_sets import ask_for_labels, resolve_labels
from emo_edge.bundle.manifest import QUESTION_INPUT, Manifest, QuestionCache
from emo_edge.bundle.question_tokenizer import open_questions
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.inference.frame_features import VisualInput
from emo_edge.inference.output_checks import require_sound
from emo_edge.inference.probability import tempered
from emo_edge.inference.prompt_layout import Prompt, frame_tokens, picture_chunks
from emo_edge.inference.results import Request
from emo_edge.inference.tasks.heart_rate import answer_sentence, measurement_sentence, without_numbers
from emo_edge.inference.tasks.requests import requested_task
from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, ScoreRequest
from emo_edge.runtimes.loading.engines import LanguageChain, PictureChain
from emo_edge.tensors import Tensor
from emo_edge.utils.timing import Stopwatch

HIGHEST_TEMPERATURE = 1e6
"""Beyond it rounding would soon no longer tell the labels apart."""
BLANK_SCORES = 32
"""Prompts and label lists whose blank-image scores are kept, the latest ones."""

PromptChunks = Callable[[], Sequence[Chunk]]
"""Gives a prompt."""


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
    question_cached: bool = False
    """True if the question's keys and values were those about a grey picture."""


NO_LABEL_QUESTION = LabelQuestion((), "", 1.0, prior_correction=False)
"""Of a bundle that gives no labels."""
NO_LABEL_SCORES = LabelScores({}, {})
"""Of a bundle that gives no labels."""


SINGLE = "a picture needs", "open the bundle with a larger `context`"
"""Of a picture that the context does not hold, and the next step."""


class LabelScorer:
    """A bundle's prompts and labels over its open language chain."""

    def __init__(
        self,
        bundle: Bundle,
        chain: LanguageChain | PictureChain,
        device: str,
        question_cache: QuestionCache | None = None,
    ) -> None:
        """Keep the chain, which runs on ``device``, and the profile's question cache."""
        self.manifest, self.chain, self.device = bundle.manifest, chain, device
        self.questions = open_questions(bundle)
        self.question_cache = question_cache
        self._grey: VisualInput | None = None
        self._blank_scores: dict[tuple[str, ...], NDArray[np.float64]] = {}

    def check(self, request: Request, frames: int) -> None:
        """Raise InputError for a request that no image could fulfil, or a clip that this model cannot read."""
        self.question(request, clip=False)
        self.check_pictures(frames)
        needed, size = frames * self.manifest.frames_segment.tokens_per_frame, self.chain.language.context_size
        if needed >= size:
            what, advice = (f"{frames} frames need", "use fewer frames") if frames > 1 else SINGLE
            raise InputError(f"{what} {needed} positions, the context has {size}: {advice}")

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
        manifest, choice, task = self.manifest, request.prior_correction, requested_task(self.manifest, request)
        temperature = requested_temperature(manifest, request)
        corrected = manifest.scoring.prior_correction if choice is None else choice
        if task is not None:
            question = task.question(clip=clip, measurement=measurement_sentence(request.heart_rate))
            return LabelQuestion(task.scored_labels, question, temperature, task.by_yes_no or corrected)
        labels = resolve_labels(manifest, request.labels)
        return LabelQuestion(labels, ask_for_labels(manifest, labels, clip=clip), temperature, corrected)

    def score(
        self,
        visual: VisualInput,
        sentence: str,
        request: Request,
        watch: Stopwatch,
        blank: Callable[[Stopwatch], VisualInput],
        *,
        clip: bool,
    ) -> LabelScores:
        """Score the labels and answer the questions of a request.

        Args:
            visual: the frames of one face.
            sentence: age, gender and race, or nothing.
            request: labels, questions and sampling.
            watch: measures the stages.
            blank: returns an evenly grey image, for prior correction and the question cache.
            clip: True if the prompt speaks of a video.
        """
        asked = self.question(request, clip=clip)
        prompt = Prompt(self.manifest, asked.question, sentence)
        if not asked.labels:
            return LabelScores({}, {asked.question: self._open_answer(visual, prompt, request, watch)})
        cache = self._cache(request)
        scores = self.label_scores(
            visual, prompt, asked.labels, watch, cache, self._about_grey(prompt, blank, len(visual))
        )
        cached = self.chain.language.question_cached
        return self._with_answers(scores, visual, prompt, asked, request, watch, blank, cached=cached)

    def score_many(
        self,
        visual: VisualInput,
        sentences: Sequence[str],
        request: Request,
        watch: Stopwatch,
        blank: Callable[[Stopwatch], VisualInput],
    ) -> list[tuple[LabelScores, Stopwatch]]:
        """Score the labels of several faces of a picture, the positions of all in common calls.

        Returns the scores of each face with the time of each stage, in which common calls count as a whole.

        Args:
            visual: one frame a face.
            sentences: of each face, see `score`.
            request: see `score`; with a question cache, which `takes_many` asks for.
            watch: times up to here.
            blank: see `score`.
        """
        language, asked, cache = self.chain.language, self.question(request, clip=False), self._cache(request)
        prompts = [Prompt(self.manifest, asked.question, sentence) for sentence in sentences]
        frames = self._frames(visual, asked.question, watch)
        requests = []
        for prompt, frame in zip(prompts, frames, strict=True):
            chunks = prompt.chunks(language, frame)
            cached = _cached_question(chunks, cache, self._about_grey(prompt, blank, 1), prompt)
            requests.append(ScoreRequest(chunks, prompt.branches(language, asked.labels), cached))
        with watch("prefill"):
            log_probs = language.score_many(requests)
        used = language.question_cached
        results = []
        for row, (own, prompt) in enumerate(zip(log_probs, prompts, strict=True)):
            own_watch, one = watch.branch(), visual.frame(row)
            scores = self._with_answers(_sums(own), one, prompt, asked, request, own_watch, blank, cached=used)
            results.append((scores, own_watch))
        return results

    def takes_many(self, request: Request) -> bool:
        """Return whether several faces are scored together; else each is computed as if it were alone."""
        return self._cache(request) is not None

    def _cache(self, request: Request) -> QuestionCache | None:
        """Return the question cache of a request for labels; that of a task's question was never measured."""
        return self.question_cache if request.question_cache and request.task is None else None

    def _with_answers(
        self,
        scores: NDArray[np.float64],
        visual: VisualInput,
        prompt: Prompt,
        asked: LabelQuestion,
        request: Request,
        watch: Stopwatch,
        blank: Callable[[Stopwatch], VisualInput],
        *,
        cached: bool,
    ) -> LabelScores:
        """Correct the scores of a face as asked, turn them into probabilities, and answer the questions."""
        if asked.prior_correction:
            scores = np.subtract(scores, self._scores_of_blank(blank, prompt, asked.labels, watch))
        questions = (self.manifest.prompt.describe if request.describe else None, request.ask)
        answers = {
            question: self._answer(visual, Prompt(self.manifest, question, prompt.demographics), request, watch)
            for question in questions
            if question is not None
        }
        probabilities = dict(zip(asked.labels, tempered(scores, asked.temperature).tolist(), strict=True))
        return LabelScores(probabilities, answers, cached)

    def _prefill(
        self,
        visual: VisualInput,
        prompt: Prompt,
        watch: Stopwatch,
        cache: QuestionCache | None = None,
        about_grey: PromptChunks = list,
    ) -> None:
        """Make the prompt about these frames the language model's context; see `label_scores`."""
        chunks = self._chunks(visual, prompt, watch)
        with watch("prefill"):
            self.chain.language.prefill(chunks, _cached_question(chunks, cache, about_grey, prompt))

    def _chunks(self, visual: VisualInput, prompt: Prompt, watch: Stopwatch) -> list[Chunk]:
        """Return the prompt about these frames."""
        frames = self._frames(visual, prompt.question, watch)
        return prompt.chunks(self.chain.language, [chunk for frame in frames for chunk in frame])

    def _frames(self, visual: VisualInput, question: str, watch: Stopwatch) -> list[list[Chunk]]:
        """Return the part of a prompt that each frame is."""
        if isinstance(self.chain, PictureChain):
            return [picture_chunks(self.manifest, [picture]) for picture in visual.pictures]
        with watch("connector"):
            outputs = self.chain.connector.run(self._connector_feed(visual, question))
            require_sound("connector", outputs, self.device)
        tokens, face = outputs["visual_tokens"], visual.face_tokens
        rows = [slice(row, row + 1) for row in range(len(visual))]
        return [[frame_tokens(self.manifest, tokens[row], None if face is None else face[row])] for row in rows]

    def _about_grey(self, prompt: Prompt, blank: Callable[[Stopwatch], VisualInput], frames: int) -> PromptChunks:
        """Return what gives the prompt about evenly grey frames, computed when it is called."""

        def chunks() -> list[Chunk]:
            # Its time is part of the prefill's, which waits for it once a question.
            unmeasured = Stopwatch()
            self._grey = self._grey or blank(unmeasured)
            return self._chunks(self._grey.repeated(frames), prompt, unmeasured)

        return chunks

    def _connector_feed(self, visual: VisualInput, question: str) -> dict[str, Tensor]:
        if visual.features is None:
            raise ValueError("the vision net did not run")
        feed: dict[str, Tensor] = {"features": visual.features, **visual.selection}
        if self.questions:
            ids = np.array([self.questions.encode(question)] * len(visual), np.int64)
            feed |= {QUESTION_INPUT: ids, "question_mask": np.ones_like(ids)}
        return feed

    def label_scores(
        self,
        visual: VisualInput,
        prompt: Prompt,
        labels: tuple[str, ...],
        watch: Stopwatch,
        cache: QuestionCache | None = None,
        about_grey: PromptChunks = list,
    ) -> NDArray[np.float64]:
        """Log-probability of each label's whole token sequence as the answer: one prefill, no decoding.

        With a ``cache``, what it does not compute of the question is taken from the prompt that ``about_grey`` gives.
        """
        self._prefill(visual, prompt, watch, cache, about_grey)
        with watch("score"):
            log_probs = self.chain.language.score(prompt.branches(self.chain.language, labels))
        return _sums(log_probs)

    def _scores_of_blank(
        self, blank: Callable[[Stopwatch], VisualInput], prompt: Prompt, labels: tuple[str, ...], watch: Stopwatch
    ) -> NDArray[np.float64]:
        """Label scores of the same prompt about a blank image: the prior of the words alone."""
        key = (prompt.question, prompt.demographics, *labels)
        scores = self._blank_scores.pop(key, None)
        if scores is None:
            scores = self.label_scores(blank(watch), prompt, labels, watch)
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

    def _open_answer(self, visual: VisualInput, prompt: Prompt, request: Request, watch: Stopwatch) -> str:
        """Write the answer of a task; one about a measured heart rate begins with it, and has no other number."""
        if request.heart_rate is None:
            return self._answer(visual, prompt, request, watch)
        begun, language = answer_sentence(request.heart_rate), self.chain.language
        chunks = [*self._chunks(visual, prompt, watch), *prompt.branches(language, [begun])]
        with watch("prefill"):
            language.prefill(chunks)
        with watch("answer"):
            text = f"{begun} {without_numbers(''.join(language.generate(request.sampling)))}".rstrip()
        if request.on_piece:
            request.on_piece(f"{text}\n")
        return text


def _cached_question(
    chunks: Sequence[Chunk], cache: QuestionCache | None, about_grey: PromptChunks, prompt: Prompt
) -> CachedQuestion | None:
    """Return the text behind a prompt's last picture as a cached question; None without a cache or without text."""
    text = chunks[-1]
    if cache is None or not isinstance(text, list):
        return None
    return CachedQuestion(len(text), cache.head, cache.tail, about_grey, of_a_person=bool(prompt.demographics))


def _sums(log_probs: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the log-probability of each label from those of its tokens."""
    return np.array([float(tokens.sum()) for tokens in log_probs])


def requested_temperature(manifest: Manifest, request: Request) -> float:
    """Return the temperature of a request, by default the bundle's; raise InputError for one outside its range."""
    temperature = manifest.scoring.temperature if request.temperature is None else request.temperature
    if not 0 < temperature <= HIGHEST_TEMPERATURE:
        raise InputError(
            f"the temperature of the labels must be above 0 and at most {HIGHEST_TEMPERATURE:g}, not {temperature:g}"
        )
    return temperature
