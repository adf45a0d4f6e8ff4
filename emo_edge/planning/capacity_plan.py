"""The types of a capacity plan: the request, memory and stages of each profile, and the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emo_edge.errors import InputError
from emo_edge.planning.roofline import Interval

PLAN_VERSION = 1
"""Of the plan as JSON."""


@dataclass(frozen=True)
class PlanRequest:
    """The load that a device is planned for, and the limits that it has to keep."""

    context: int | None = None
    """Positions of prompt and answer together; None takes what they need, as ``emo-edge infer`` does."""
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
        wrong = [f"`{name}` {value}" for name in counts if (value := getattr(self, name)) is not None and value < 1]
        limits = ("max_memory", "max_latency_ms")
        wrong += [
            f"`{name}` {value}"
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
        """Sum of all of them."""
        return self.graphs + self.language + self.kv_cache + self.activations + self.engines


@dataclass(frozen=True)
class Stage:
    """One stage of inference, for all faces and frames that it computes in one call."""

    name: str
    flops: float
    weight_bytes: float
    activation_bytes: float
    bound: str
    """The largest part of its time: compute, memory or overhead."""
    ms: Interval


@dataclass(frozen=True)
class ProfilePlan:
    """Memory and times of one profile."""

    profile: str
    variants: Mapping[str, str | None]
    memory: Memory
    fits: bool
    stages: tuple[Stage, ...]
    label_ms: Interval
    """Frames to labels of all faces; of a face network alone, to the attributes of the faces."""
    first_token_ms: Interval | None
    description_ms: Interval | None
    meets_latency: bool


@dataclass(frozen=True)
class CapacityPlan:
    """Every profile of a model on a device; ``chosen`` is None where nothing fits or no profile is fast enough."""

    subject: str
    device: str
    device_title: str
    measured: bool
    memory_total: float
    memory_limit: float
    request: PlanRequest
    context: int | None
    prompt_positions: int | None
    profiles: tuple[ProfilePlan, ...]
    chosen: str | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as ``emo-edge plan --json`` prints it, whose key for the request is ``wanted``."""
        fields = {"wanted" if name == "request" else name: value for name, value in asdict(self).items()}
        return {"plan_version": PLAN_VERSION, **fields}
