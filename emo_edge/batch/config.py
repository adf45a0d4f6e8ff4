"""Everything that a worker needs to read as every other one does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from emo_edge.faces.limits import NO_LIMITS, FaceLimits
from emo_edge.inference.results import ClipSampling, Request


@dataclass(frozen=True)
class LabelConfig:
    """A bundle, and how it reads; it can be sent to another process."""

    bundle: Path
    device: str = "auto"
    profile: str | None = None
    threads: int | None = None
    """Of each engine of a worker; None leaves it to the engine."""
    detector: str = "auto"
    limits: FaceLimits = NO_LIMITS
    request: Request = field(default_factory=Request)
    sampling: ClipSampling = field(default_factory=ClipSampling)
    context: int | None = None
    """Positions of prompt and answer, for which memory is taken; None takes those that the model was trained with."""
    whole_crops: bool = False
    """True reads a picture without a found face as a whole, if it looks like the crop of one."""
    deployment_purpose: str | None = None
    """See `EmotionPipeline.open`."""

    def faces(self) -> dict[str, object]:
        """Return the bounds on faces as JSON values."""
        return {**asdict(self.limits), "whole_crops": self.whole_crops}
