"""Memory and stage times of one profile on one device.

Times are those of an inference that is not the first, so that the prompt's text before the frames is in the attention
cache and the tokens of every text are known, and of a description that is requested by itself: after a question for
labels more of its prompt may be in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.manifest import GRAPHS, QuestionCache
from emo_edge.bundle.model_shape import LanguageShape
from emo_edge.inference.frame_features import AT_ONCE
from emo_edge.planning.capacity_plan import Memory, PlanRequest, Stage
from emo_edge.planning.cost.stages import language_work
from emo_edge.planning.cost.work import FLOAT, Work, joined
from emo_edge.planning.models import PlannedModel
from emo_edge.planning.prompt_lengths import PromptLength, PromptLengths
from emo_edge.planning.roofline import NOTHING, Device, Engine, Interval
from emo_edge.runtimes.llama_cpp.session import BATCH, FORK_CELLS, FORKS

LIVE = 2
"""Largest node's inputs and outputs that a graph holds at once: its own, and what waits for a residual sum. Assumed."""
CROPPED = ("vision", "face", "au")
"""Graphs that read crops of faces."""
QUESTION_TOKENS = 32
"""Tokens of a question that the connector's memory is counted with. Assumed."""


@dataclass(frozen=True)
class LanguageStages:
    """Stages of the language model for one face, in the order of a plan."""

    connector: Stage
    prefill: Stage
    score: Stage
    first_token: Stage
    """Of a description: its own connector and prefill."""
    per_token: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order."""
        return self.connector, self.prefill, self.score, self.first_token, self.per_token

    @property
    def label_ms(self) -> Interval:
        """Time from the features to the labels."""
        return self.connector.ms + self.prefill.ms + self.score.ms


def kv_cache_bytes(shape: LanguageShape, context: int, *, exact: bool) -> float:
    """Return the size of the attention cache: keys and values of every position, float16 or, if exact, float32."""
    return 2.0 * shape.layers * shape.kv_width * (context + FORKS * FORK_CELLS) * (4 if exact else 2)


class ProfileEstimate:
    """One profile on one device."""

    def __init__(
        self,
        subject: PlannedModel,
        device: Device,
        request: PlanRequest,
        variants: Mapping[str, str | None],
        question_cache: QuestionCache | None = None,
    ) -> None:
        self.subject, self.device, self.request, self.variants = subject, device, request, variants
        self.question_cache = question_cache
        self.crops = request.faces * request.frames

    def memory(self, context: int | None) -> Memory:
        """Estimate the bytes that weights, attention cache and activations take."""
        graphs, activations = self._graph_bytes(), self._graph_activations()
        shape, variant = self.subject.language, self.variants["language"]
        if shape is None or variant is None or context is None:
            return Memory(graphs, 0.0, 0.0, activations, self.device.runtime)
        exact = variant in UNQUANTIZED
        rows = min(BATCH, context)
        scores = shape.heads * (context + FORKS * FORK_CELLS) if exact else 0
        buffer = FLOAT * (rows * (6 * shape.width + 3 * shape.mlp + scores) + FORKS * shape.vocabulary)
        stored, cache = self.subject.stored("language", variant), kv_cache_bytes(shape, context, exact=exact)
        return Memory(graphs, stored, cache, activations + buffer, self.device.runtime)

    @cached_property
    def crop_stages(self) -> tuple[Stage, ...]:
        """Stages of the networks that take the crops of all faces and frames."""
        engine = self.device.graphs
        return tuple(
            _stage(part, [self._graph(part, rows, 1) for rows in _batches(self.crops, AT_ONCE)], engine)
            for part in CROPPED
            if self.variants[part] and self._graph(part, 1, 1).nodes
        )

    def language_stages(self, prompts: PromptLengths) -> LanguageStages:
        """Estimate connector and language model for one face."""
        shape, variant = self.subject.language, self.variants["language"]
        assert shape is not None and variant is not None
        engine, visual = self.device.language_engine(variant), self.request.frames * self.subject.tokens_per_frame
        label, describe = prompts.label, prompts.describe
        written = describe.positions(visual) + self.request.describe_tokens / 2
        return LanguageStages(
            connector=self._connector(label),
            prefill=_stage("prefill", self._label_prefill(shape, variant, label), engine),
            score=self._score(shape, variant, prompts, label.positions(visual)),
            first_token=_sum(
                "first token",
                self._connector(describe),
                _stage("prefill", self._prefill(shape, variant, describe), engine),
            ),
            per_token=_stage("per token", [self._call(shape, variant, 1, written, 1)], engine),
        )

    def _graph_bytes(self) -> float:
        # Without float16 arithmetic, ONNX Runtime holds the weights in float32.
        widening = 1.0 if self.device.half_is_native else 2.0
        variants = ((part, self.variants[part]) for part in GRAPHS)
        sizes = (
            (widening if "fp16" in variant else 1.0) * self.subject.stored(part, variant)
            for part, variant in variants
            if variant
        )
        return sum(sizes, 0.0)

    def _graph_activations(self) -> float:
        works = [self._graph(part, min(self.crops, AT_ONCE), QUESTION_TOKENS) for part in GRAPHS]
        return LIVE * max((work.largest_activation for work in works), default=0.0)

    def _connector(self, prompt: PromptLength) -> Stage:
        work = self._graph("connector", self.request.frames, prompt.question)
        return _stage("connector", [work], self.device.graphs)

    def _score(self, shape: LanguageShape, variant: str, prompts: PromptLengths, cached: int) -> Stage:
        calls = [self._call(shape, variant, prompts.branch_rows, cached, prompts.branch_rows)]
        stage = _stage("score", calls if prompts.branch_rows else [], self.device.language_engine(variant))
        softmax = self.device.softmax_s * shape.vocabulary * (1 + prompts.branch_rows)
        python_ms = 1000 * (self.device.label_s * prompts.labels + softmax)
        return replace(stage, ms=stage.ms + Interval(python_ms, python_ms))

    def _label_prefill(self, shape: LanguageShape, variant: str, prompt: PromptLength) -> list[Work]:
        """List the calls for the prompt of labels: with a question cache, pictures and head, then the tail."""
        cache = self.question_cache
        if cache is None or cache.head + cache.tail >= prompt.after:
            return self._prefill(shape, variant, prompt)
        first = self._prefill(shape, variant, replace(prompt, after=cache.head), outputs=0)
        whole = prompt.positions(self.request.frames * self.subject.tokens_per_frame)
        return [*first, self._call(shape, variant, cache.tail, whole - cache.tail / 2, 1)]

    def _prefill(self, shape: LanguageShape, variant: str, prompt: PromptLength, outputs: int = 1) -> list[Work]:
        """List the calls for the prompt after the text before the frames; the last one gives ``outputs`` logits."""
        calls: list[Work] = []
        cached = prompt.before
        batches = _batches(self.request.frames * self.subject.tokens_per_frame + prompt.after, BATCH)
        for number, rows in enumerate(batches, 1):
            calls.append(self._call(shape, variant, rows, cached + rows / 2, outputs * (number == len(batches))))
            cached += rows
        return calls

    def _call(self, shape: LanguageShape, variant: str, rows: int, attended: float, outputs: int) -> Work:
        layer, output = self.subject.language_bytes(variant)
        return language_work(shape, rows, attended, layer, output, outputs)

    def _graph(self, part: str, batch: int, question: int) -> Work:
        variant = self.variants[part]
        work = self.subject.graph(part, variant, batch, question) if variant else Work(())
        return work if self.device.half_is_native else work.widened()


def _batches(count: int, most: int) -> list[int]:
    """Split a count as it is computed: full batches, then the rest."""
    return [most] * (count // most) + ([count % most] if count % most else [])


def _stage(name: str, calls: list[Work], engine: Engine) -> Stage:
    whole = joined(calls)
    seconds = sum((engine.seconds(call) for call in calls), NOTHING)
    bound = engine.slow.bound(whole) if calls else "overhead"
    return Stage(name, whole.flops, whole.weight_bytes, whole.activation_bytes, bound, seconds * 1000)


def _sum(name: str, first: Stage, second: Stage) -> Stage:
    longer = max(first, second, key=lambda stage: stage.ms.most)
    return Stage(
        name,
        first.flops + second.flops,
        first.weight_bytes + second.weight_bytes,
        first.activation_bytes + second.activation_bytes,
        longer.bound,
        first.ms + second.ms,
    )
