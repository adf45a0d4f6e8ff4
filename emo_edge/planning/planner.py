"""Plan a model on a device: does each profile fit, how long does each stage take, and which profile is the one to take.

Arithmetic alone: `emo_edge.planning.models` counts the work, `emo_edge.planning.roofline` holds the rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from emo_edge.bundle.manifest import GRAPHS
from emo_edge.bundle.model_shape import LanguageShape
from emo_edge.errors import InputError
from emo_edge.planning.capacity_plan import CapacityPlan, PlanRequest, ProfilePlan
from emo_edge.planning.models import PlannedModel, graph_precision
from emo_edge.planning.profile_estimate import ProfileEstimate
from emo_edge.planning.prompt_lengths import PromptLengths, rounded_context
from emo_edge.planning.roofline import NOTHING, Device
from emo_edge.utils.suggestions import did_you_mean

BITS = {"fp32": 32, "fp16": 16, "int8": 8}
"""Of a weight of a graph."""


def make_plan(
    subject: PlannedModel, device: Device, request: PlanRequest, profiles: Iterable[str] | None = None
) -> CapacityPlan:
    """Plan every profile, or the ones named, and choose the most precise that fits and is fast enough.

    Raises InputError for an unknown profile, and for a context that the model was not trained with or that does not
    hold the prompt and the description.
    """
    names = tuple(profiles or subject.profiles)
    if unknown := [name for name in names if name not in subject.profiles]:
        listing = f"{', '.join(subject.profiles)}{did_you_mean(unknown[0], subject.profiles)}"
        raise InputError(f"no profile {unknown[0]!r} in {subject.name}; there are: {listing}")
    prompts = subject.prompts(request.labels, clip=request.frames > 1) if subject.language else None
    context = positions = None
    if subject.language and prompts:
        context, positions = _context(subject, subject.language, prompts, request)
    limit = min(device.left, request.max_memory or math.inf)
    estimates = {
        name: ProfileEstimate(subject, device, request, subject.profiles[name], subject.question_caches.get(name))
        for name in names
    }
    plans = tuple(_profile_plan(name, estimates[name], context, prompts, limit) for name in names)
    good = [plan for plan in plans if plan.fits and plan.meets_latency]
    best = max(good, key=lambda plan: _precision(subject, plan.variants), default=None)
    return CapacityPlan(
        subject=subject.name,
        device=device.name,
        device_title=device.title,
        measured=device.measured,
        memory_total=device.memory,
        memory_limit=limit,
        request=request,
        context=context,
        prompt_positions=positions,
        profiles=plans,
        chosen=best.profile if best else None,
        notes=device.notes,
    )


def _precision(subject: PlannedModel, variants: Mapping[str, str | None]) -> tuple[float, float]:
    """Return the bytes that the types of the variants take, and those stored: more bits are more precise.

    Of graphs the types decide: a small one in INT8 stores more bytes than in float, for its scales and names.
    """
    stored = {part: subject.stored(part, variant) for part, variant in variants.items() if variant}
    typed = [
        _largest(subject, part) * BITS[graph_precision(str(variants[part]))] / 32 if part in GRAPHS else size
        for part, size in stored.items()
    ]
    return sum(typed), sum(stored.values())


def _largest(subject: PlannedModel, part: str) -> float:
    return max(subject.stored(part, variant) for own in subject.profiles.values() if (variant := own.get(part)))


def _context(
    subject: PlannedModel, shape: LanguageShape, prompts: PromptLengths, request: PlanRequest
) -> tuple[int, int]:
    """Return the positions of the context and, of them, those of the prompt for labels."""
    visual = request.frames * subject.tokens_per_frame
    needed = prompts.needed(visual, request.describe_tokens)
    context = request.context or rounded_context(needed, shape.context)
    if context > shape.context:
        raise InputError(f"{subject.name} was trained with {shape.context} positions: `context` {context} is too large")
    if needed > context:
        raise InputError(
            f"prompt and answer need {needed} positions, the context has {context}: "
            "use fewer `frames`, fewer `describe_tokens` or a larger `context`"
        )
    return context, prompts.label.positions(visual)


def _profile_plan(
    name: str, estimate: ProfileEstimate, context: int | None, prompts: PromptLengths | None, limit: float
) -> ProfilePlan:
    request, stages = estimate.request, estimate.crop_stages
    label_ms = sum((stage.ms for stage in stages), NOTHING)
    first_token_ms = description_ms = None
    if prompts:
        language = estimate.language_stages(prompts)
        first_token_ms = language.first_token.ms
        description_ms = first_token_ms + language.per_token.ms * (request.describe_tokens - 1)
        label_ms, stages = label_ms + language.label_ms * request.faces, (*stages, *language.stages)
    memory = estimate.memory(context)
    return ProfilePlan(
        profile=name,
        variants=estimate.variants,
        memory=memory,
        fits=memory.total <= limit,
        stages=stages,
        label_ms=label_ms,
        first_token_ms=first_token_ms,
        description_ms=description_ms,
        meets_latency=request.max_latency_ms is None or label_ms.most <= request.max_latency_ms,
    )
