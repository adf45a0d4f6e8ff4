"""A capacity plan as text."""

from __future__ import annotations

from collections.abc import Iterator

from emo_edge.planning.capacity_plan import CapacityPlan, ProfilePlan, Stage

PROFILE_HEAD = ("profile", "graphs", "language", "KV cache", "activations", "engines", "needs", "", "labels", "answer")
STAGE_HEAD = ("stage", "GFLOP", "weights", "activations", "bound", "ms")


def plan_text(plan: CapacityPlan) -> str:
    """Return memory and times of each profile, the stages of the chosen one, and notes on the figures."""
    shown = next((part for part in plan.profiles if part.profile == plan.chosen), None)
    shown = shown or min(plan.profiles, key=lambda part: part.memory.total)
    lines = [*_head(plan), "", *_table([PROFILE_HEAD, *map(_profile_row, plan.profiles)]), ""]
    rows = [STAGE_HEAD, *map(_stage_row, shown.stages)]
    lines += _table(
        [(f"{head} of {shown.profile}" if not row else head, *rest) for row, (head, *rest) in enumerate(rows)]
    )
    lines += ["", f"take {plan.chosen}: the most precise that fits" if plan.chosen else "no profile is to be taken"]
    if plan.chosen and plan.request.max_latency_ms:
        lines[-1] += " and is fast enough"
    return "\n".join([*lines, *(f"note: {note}" for note in plan.notes)])


def _head(plan: CapacityPlan) -> Iterator[str]:
    request = plan.request
    yield (
        f"{plan.subject} on {plan.device_title}: {plan.memory_total / 1e9:.1f} GB, "
        f"of which {plan.memory_limit / 1e9:.1f} GB may be used"
    )
    media = f"a clip of {request.frames} frames" if request.frames > 1 else "a picture"
    faces = f"{request.faces} face{'s' if request.faces > 1 else ''}"
    if plan.context is None:
        yield f"{media}, {faces}; no language model: the network of faces alone"
        return
    yield (
        f"{media}, {faces}; {plan.context} positions, {plan.prompt_positions} of them the prompt; "
        f"labels {request.labels}, a description of {request.describe_tokens} tokens"
    )


def _profile_row(part: ProfilePlan) -> tuple[str, ...]:
    memory = part.memory
    sizes = (memory.graphs, memory.language, memory.kv_cache, memory.activations, memory.engines, memory.total)
    verdict = "fits" if part.fits else "too large"
    verdict += "" if part.meets_latency else ", too slow"
    answer = f"{part.description_ms.text(0)} ms" if part.description_ms else "-"
    return (
        part.profile,
        *(f"{size / 1e9:.3f} GB" for size in sizes),
        verdict,
        f"{part.label_ms.text()} ms",
        answer,
    )


def _stage_row(stage: Stage) -> tuple[str, ...]:
    return (
        stage.name,
        f"{stage.flops / 1e9:.3f}",
        f"{stage.weight_bytes / 1e6:.1f} MB",
        f"{stage.activation_bytes / 1e6:.1f} MB",
        stage.bound,
        stage.ms.text(2),
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
