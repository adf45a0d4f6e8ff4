"""Whether a model fits a device, how long each stage takes there, and which profile is the one to take.

Arithmetic alone: `plan_subject` tells the work, `ceiling` the rates. Times are those of a reading that is not the
first, so that the prompt's text before the frames is there and the tokens of every text are known, and of a question
for a description that is asked by itself: after one for labels more of it may be there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.manifest import GRAPHS
from emo_edge.bundle.model_shape import LanguageShape
from emo_edge.errors import InputError
from emo_edge.planning.cost.stages import language_work
from emo_edge.planning.cost.work import FLOAT, Work, joined
from emo_edge.planning.models import PlannedModel
from emo_edge.planning.prompt_lengths import Prompt, Prompts
from emo_edge.planning.roofline import NOTHING, Device, Engine, Interval

BATCH = 512
"""Positions that `runtimes.llama` computes at once."""
FORKS, FORK_CELLS = 64, 2
"""Branches, and cells of each beside the context, that it sets aside."""
AT_ONCE = 32
"""Crops that `pipeline` feeds a network at once."""
LIVE = 2
"""Largest node's inputs and outputs that a graph holds at once: its own, and what waits for a residual sum. Assumed."""


@dataclass(frozen=True)
class PlanRequest:
    """What is asked of the device."""

    context: int | None = None
    """Positions of prompt and answer together; None takes what the model was trained with."""
    faces: int = 1
    frames: int = 1
    """Of a clip, each in the prompt; a picture has one."""
    labels: str = "rafdb7"
    describe_tokens: int = 64
    max_memory: float | None = None
    """Bytes, instead of what the device leaves."""
    max_latency_ms: float | None = None
    """From the frames to the label of the last face."""

    def __post_init__(self) -> None:
        counts = ("context", "faces", "frames", "describe_tokens")
        wrong = [f"{name} {value}" for name in counts if (value := getattr(self, name)) is not None and value < 1]
        limits = ("max_memory", "max_latency_ms")
        wrong += [
            f"{name} {value}"
            for name in limits
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf
        ]
        if wrong:
            raise InputError(f"a plan cannot be made for {', '.join(wrong)}: counts start at 1, limits are above 0")


@dataclass(frozen=True)
class Memory:
    """Bytes that a profile takes."""

    graphs: float
    language: float
    kv_cache: float
    activations: float
    engines: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.graphs + self.language + self.kv_cache + self.activations + self.engines


@dataclass(frozen=True)
class Stage:
    """One stage of a reading, for all faces and frames that it computes in one call."""

    name: str
    flops: float
    weight_bytes: float
    activation_bytes: float
    bound: str
    """What takes most of its time: compute, memory or overhead."""
    ms: Interval


@dataclass(frozen=True)
class ProfilePlan:
    """What one profile needs and takes."""

    profile: str
    variants: Mapping[str, str | None]
    memory: Memory
    fits: bool
    stages: tuple[Stage, ...]
    label_ms: Interval
    """Frames to labels of all faces; of a face network alone, to its facts."""
    first_token_ms: Interval | None
    description_ms: Interval | None
    meets_latency: bool


@dataclass(frozen=True)
class CapacityPlan:
    """What a model needs and takes on a device; ``chosen`` is None where nothing fits or no profile is fast enough."""

    subject: str
    device: str
    device_title: str
    measured: bool
    memory_total: float
    memory_limit: float
    wanted: PlanRequest
    context: int | None
    prompt_positions: int | None
    profiles: tuple[ProfilePlan, ...]
    chosen: str | None
    notes: tuple[str, ...]


def make_plan(
    subject: PlannedModel, device: Device, wanted: PlanRequest, profiles: Iterable[str] | None = None
) -> CapacityPlan:
    """Plan every profile, or the ones named, and choose the most precise that fits and is fast enough.

    Raises InputError for an unknown profile, and for a context that the model was not trained with or that does not
    hold the prompt and the description.
    """
    names = tuple(profiles or subject.profiles)
    if strangers := [name for name in names if name not in subject.profiles]:
        raise InputError(f"no profile {strangers[0]!r} in {subject.name}; there are: {', '.join(subject.profiles)}")
    prompts = subject.prompts(wanted.labels, clip=wanted.frames > 1) if subject.language else None
    context = positions = None
    if subject.language and prompts:
        context, positions = _context(subject, subject.language, prompts, wanted)
    limit = min(device.left, wanted.max_memory or math.inf)
    plans = tuple(_planned(subject, device, wanted, name, context, prompts, limit) for name in names)
    good = [plan for plan in plans if plan.fits and plan.meets_latency]
    best = max(good, key=lambda plan: _precision(subject, plan.variants), default=None)
    return CapacityPlan(
        subject.name,
        device.name,
        device.title,
        device.measured,
        device.memory,
        limit,
        wanted,
        context,
        positions,
        plans,
        best.profile if best else None,
        device.notes,
    )


def kv_cache_bytes(shape: LanguageShape, context: int, *, exact: bool) -> float:
    """Size of the attention cache: keys and values of every layer and position, float16 or, if exact, float32."""
    return 2.0 * shape.layers * shape.kv_width * (context + FORKS * FORK_CELLS) * (4 if exact else 2)


def span(value: Interval, digits: int = 1) -> str:
    """Write an interval; one number where both ends are the same to what is shown."""
    low, high = f"{value.least:.{digits}f}", f"{value.most:.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _precision(subject: PlannedModel, variants: Mapping[str, str | None]) -> float:
    """Return the bytes stored: between variants of one model, more bits are more precise."""
    return sum(subject.stored(part, variant) for part, variant in variants.items() if variant)


def _context(subject: PlannedModel, shape: LanguageShape, prompts: Prompts, wanted: PlanRequest) -> tuple[int, int]:
    frames = wanted.frames * subject.tokens_per_frame
    context = wanted.context or shape.context
    sizes = [prompt.before + frames + prompt.after for prompt in (prompts.label, prompts.describe)]
    needed = max(sizes[0] + prompts.longest_label, sizes[1] + wanted.describe_tokens)
    if context > shape.context:
        raise InputError(f"{subject.name} was trained with {shape.context} positions: --context {context} is too large")
    if needed > context:
        raise InputError(
            f"prompt and answer need {needed} positions, the context has {context}: "
            "use fewer --frames, fewer --describe-tokens or a larger --context"
        )
    return context, sizes[0]


def _planned(
    subject: PlannedModel,
    device: Device,
    wanted: PlanRequest,
    name: str,
    context: int | None,
    prompts: Prompts | None,
    limit: float,
) -> ProfilePlan:
    variants = subject.profiles[name]
    reader = _Reader(subject, device, wanted, variants)
    memory = reader.memory(context)
    stages = reader.networks()
    label = sum((stage.ms for stage in stages), NOTHING)
    first = description = None
    if prompts:
        chain = reader.chain(prompts)
        by_name = {stage.name: stage for stage in chain}
        once = by_name["connector"].ms + by_name["prefill"].ms + by_name["score"].ms
        first = by_name["first token"].ms
        description = first + by_name["per token"].ms * (wanted.describe_tokens - 1)
        label, stages = label + once * wanted.faces, (*stages, *chain)
    fast = wanted.max_latency_ms is None or label.most <= wanted.max_latency_ms
    return ProfilePlan(name, variants, memory, memory.total <= limit, stages, label, first, description, fast)


class _Reader:
    """One profile on one device."""

    def __init__(
        self, subject: PlannedModel, device: Device, wanted: PlanRequest, variants: Mapping[str, str | None]
    ) -> None:
        self.subject, self.device, self.wanted, self.variants = subject, device, wanted, variants
        self.crops = wanted.faces * wanted.frames

    def memory(self, context: int | None) -> Memory:
        graphs = 0.0
        for part in GRAPHS:
            if variant := self.variants[part]:
                # Without float16 arithmetic, ONNX Runtime holds the weights in float32.
                wide = 2.0 if "fp16" in variant and not self.device.half_is_native else 1.0
                graphs += wide * self.subject.stored(part, variant)
        works = [self._graph(part, min(self.crops, AT_ONCE), 32) for part in GRAPHS]
        activations = LIVE * max((work.largest_activation for work in works), default=0.0)
        shape, variant = self.subject.language, self.variants["language"]
        if shape is None or variant is None or context is None:
            return Memory(graphs, 0.0, 0.0, activations, self.device.runtime)
        exact = variant in UNQUANTIZED
        rows = min(BATCH, context)
        scores = shape.heads * (context + FORKS * FORK_CELLS) if exact else 0
        buffer = FLOAT * (rows * (6 * shape.width + 3 * shape.mlp + scores) + FORKS * shape.vocabulary)
        stored, cache = self.subject.stored("language", variant), kv_cache_bytes(shape, context, exact=exact)
        return Memory(graphs, stored, cache, activations + buffer, self.device.runtime)

    def networks(self) -> tuple[Stage, ...]:
        """Plan what reads the crops of all faces and frames."""
        engine = self.device.graphs
        return tuple(
            _stage(part, [self._graph(part, rows, 1) for rows in _parts(self.crops, AT_ONCE)], engine)
            for part in ("vision", "face")
            if self.variants[part] and self._graph(part, 1, 1).nodes
        )

    def chain(self, prompts: Prompts) -> tuple[Stage, ...]:
        """Plan what is computed for one face."""
        frames, shape, variant = self.wanted.frames, self.subject.language, self.variants["language"]
        assert shape is not None and variant is not None
        engine = self.device.language_engine(variant)
        label, told = prompts.label, prompts.describe
        visual = frames * self.subject.tokens_per_frame
        connector, again = (
            _stage("connector", [self._graph("connector", frames, prompt.question)], self.device.graphs)
            for prompt in (label, told)
        )
        prefill, retold = (_stage("prefill", self._prefill(shape, variant, prompt), engine) for prompt in (label, told))
        seen = label.before + visual + label.after
        calls = [self._call(shape, variant, prompts.branch_rows, seen, prompts.branch_rows)]
        score = _stage("score", calls if prompts.branch_rows else [], engine)
        softmax = self.device.softmax_s * shape.vocabulary * (1 + prompts.branch_rows)
        score = _later(score, self.device.label_s * prompts.labels + softmax)
        first = _sum("first token", again, retold)
        halfway = told.before + visual + told.after + self.wanted.describe_tokens / 2
        token = _stage("per token", [self._call(shape, variant, 1, halfway, 1)], engine)
        return connector, prefill, score, first, token

    def _prefill(self, shape: LanguageShape, variant: str, prompt: Prompt) -> list[Work]:
        """List the calls for what follows the text before the frames."""
        calls: list[Work] = []
        seen = prompt.before
        parts = _parts(self.wanted.frames * self.subject.tokens_per_frame + prompt.after, BATCH)
        for place, rows in enumerate(parts, 1):
            calls.append(self._call(shape, variant, rows, seen + rows / 2, int(place == len(parts))))
            seen += rows
        return calls

    def _call(self, shape: LanguageShape, variant: str, rows: int, seen: float, outputs: int) -> Work:
        layer, output = self.subject.language_bytes(variant)
        return language_work(shape, rows, seen, layer, output, outputs)

    def _graph(self, part: str, batch: int, question: int) -> Work:
        variant = self.variants[part]
        work = self.subject.graph(part, variant, batch, question) if variant else Work(())
        return work if self.device.half_is_native else work.widened()


def _parts(count: int, most: int) -> list[int]:
    """Cut a count as it is computed: full parts, then the rest."""
    return [most] * (count // most) + ([count % most] if count % most else [])


def _stage(name: str, calls: list[Work], engine: Engine) -> Stage:
    whole = joined(calls)
    seconds = sum((engine.seconds(call) for call in calls), NOTHING)
    bound = engine.slow.bound(whole) if calls else "overhead"
    return Stage(name, whole.flops, whole.weight_bytes, whole.activation_bytes, bound, seconds * 1000)


def _later(stage: Stage, seconds: float) -> Stage:
    """Add what Python does before the engine is called."""
    return replace(stage, ms=stage.ms + Interval(1000 * seconds, 1000 * seconds))


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
