"""Changes that help where no profile fits a device or none is fast enough: first those that keep the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from emo_edge.errors import DeviceError, InputError
from emo_edge.planning.capacity_plan import CapacityPlan, PlanRequest
from emo_edge.planning.device_catalogue import CATALOGUE, catalogue_device
from emo_edge.planning.models import PlannedModel
from emo_edge.planning.planner import make_plan
from emo_edge.planning.roofline import Device

SMALLEST_CONTEXT = 32
SMALLEST_LANGUAGE = 0.2e9
"""Bytes of weights below which there is no language model worth the advice."""


def require_choice(
    subject: PlannedModel, device: Device, plan: CapacityPlan, profiles: Iterable[str] | None = None
) -> None:
    """Raise DeviceError if the plan chose no profile; the message names each change that helps."""
    if plan.chosen is not None:
        return
    names = None if profiles is None else tuple(profiles)
    problem = _too_large(plan) if not any(profile.fits for profile in plan.profiles) else _too_slow(plan)
    helps = list(_changes(subject, device, plan, names))
    helps += [f"`profile` {name}" for name in _other_profiles(subject, device, plan.request, names)]
    least = min(profile.memory.total for profile in plan.profiles)
    if plan.memory_limit < least <= device.left:
        helps.append(f"`max_memory` {-(-least // 1e7) / 100:.2f}GB")
    helps += _smaller_model(plan)
    helps += [f"another device, `device` {name}" for name in _other_devices(subject, plan, names)]
    raise DeviceError(f"{problem}. What would do: {'; or '.join(helps) or 'a smaller model'}")


def _too_large(plan: CapacityPlan) -> str:
    least = min(plan.profiles, key=lambda profile: profile.memory.total)
    parts = {name: value for name, value in vars(least.memory).items() if value}
    largest = max(parts, key=parts.__getitem__).replace("_", " ")
    return (
        f"nothing fits {plan.device}: the smallest profile, {least.profile}, needs {least.memory.total / 1e9:.2f} GB, "
        f"most of it {largest}, and {plan.memory_limit / 1e9:.2f} GB may be used"
    )


def _too_slow(plan: CapacityPlan) -> str:
    fastest = min((profile for profile in plan.profiles if profile.fits), key=lambda profile: profile.label_ms.most)
    slowest = max(fastest.stages, key=lambda stage: stage.ms.most)
    return (
        f"no profile that fits {plan.device} is fast enough: {fastest.profile}, the fastest, takes "
        f"{fastest.label_ms.text()} ms, most of it {slowest.name}, and {plan.request.max_latency_ms:g} ms may be taken"
    )


def _changes(subject: PlannedModel, device: Device, plan: CapacityPlan, names: tuple[str, ...] | None) -> Iterator[str]:
    """Yield each count that helps when it alone is halved, or quartered and so on."""
    counts = {"context": plan.context or 0, "frames": plan.request.frames, "faces": plan.request.faces}
    for name, count in counts.items():
        for less in _halves(count, SMALLEST_CONTEXT if name == "context" else 1):
            changed: dict[str, Any] = {name: less}
            if _chosen(subject, device, replace(plan.request, **changed), names):
                yield f"`{name}` {less}"
                break


def _halves(count: int, least: int) -> Iterator[int]:
    while count // 2 >= least:
        count //= 2
        yield count


def _chosen(subject: PlannedModel, device: Device, request: PlanRequest, names: tuple[str, ...] | None) -> bool:
    try:
        return make_plan(subject, device, request, names).chosen is not None
    except InputError:  # a context that no longer holds the prompt
        return False


def _smaller_model(plan: CapacityPlan) -> Iterator[str]:
    """Yield the size of a language model that would fit beside everything else; nothing where none would."""
    memory = min((profile.memory for profile in plan.profiles), key=lambda memory: memory.total)
    room = plan.memory_limit - (memory.total - memory.language)
    if memory.total > plan.memory_limit and room >= SMALLEST_LANGUAGE:
        yield (
            f"a smaller language model: {room / 1e9:.2f} GB are left for its weights, these are "
            f"{memory.language / 1e9:.2f} GB"
        )


def _other_profiles(
    subject: PlannedModel, device: Device, request: PlanRequest, names: tuple[str, ...] | None
) -> Iterator[str]:
    for name in subject.profiles if names else ():
        known = device.knows(subject.profiles[name]["language"])
        if name not in (names or ()) and known and _chosen(subject, device, request, (name,)):
            yield name


def _other_devices(subject: PlannedModel, plan: CapacityPlan, names: tuple[str, ...] | None) -> list[str]:
    """Return the first device, from the smallest on, where a profile is chosen."""
    devices = sorted((catalogue_device(name) for name in CATALOGUE), key=lambda device: device.memory)
    for device in devices:
        if device.name != plan.device and _chosen(subject, device, plan.request, names):
            return [device.name]
    return []
