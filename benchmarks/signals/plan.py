"""Options of a run: a data set of drawings, and the profiles whose networks differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from emo_edge.bundle.reader import Bundle
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import InputError
from emo_edge.faces.limits import NO_LIMITS, FaceLimits
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.pipeline import EmotionPipeline

MOST_DIGITS = 5


@dataclass(frozen=True)
class SignalPlan:
    """Options of a run."""

    dataset: str
    """Such as synthetic-au:200."""
    profiles: tuple[str, ...] = ()
    """All of the bundle where there are none."""
    device: str = "auto"
    threads: int | None = None
    detector: str = "auto"
    limits: FaceLimits = NO_LIMITS
    reports: Reports = QUIET

    @property
    def name(self) -> str:
        """Return the name before the colon."""
        return self.dataset.partition(":")[0]

    def count(self) -> int:
        """Return the number after the colon; raise InputError without one."""
        argument = self.dataset.partition(":")[2]
        if re.fullmatch(rf"[1-9]\d{{0,{MOST_DIGITS - 1}}}", argument, re.ASCII) is None:
            most = "9" * MOST_DIGITS
            raise InputError(f"{self.dataset}: say how many, 1 to {most}, such as {self.name}:200")
        return int(argument)


def networks_of_units(bundle: Bundle, profiles: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the profiles that share each precision of the network that gives action units, by the precision.

    Raises InputError for a bundle without action units, and for a profile that it has not.
    """
    manifest = bundle.manifest
    if manifest.action_units is None:
        raise InputError(f"{bundle.directory}: gives no action units, so there are none to measure")
    unknown = [name for name in profiles if name not in manifest.profiles]
    if unknown:
        raise InputError(f"no profile {', '.join(unknown)}; there are: {', '.join(manifest.profiles)}")
    groups: dict[str, list[str]] = {}
    for name in profiles or manifest.profiles:
        variant = manifest.profiles[name].variant(manifest.action_units.source) or ""
        groups.setdefault(variant, []).append(name)
    return {variant: tuple(names) for variant, names in groups.items()}


@contextmanager
def open_networks(
    bundle: Bundle, networks: Mapping[str, Sequence[str]], plan: SignalPlan
) -> Iterator[dict[str, EmotionPipeline]]:
    """Open one profile of each precision, without a language model, by the precision."""
    with ExitStack() as stack:
        yield {
            variant: stack.enter_context(
                EmotionPipeline.open(
                    bundle,
                    device=plan.device,
                    profile=names[0],
                    detector=chosen_detector(bundle, plan.detector, plan.limits),
                    threads=plan.threads,
                    emotions=False,
                )
            )
            for variant, names in networks.items()
        }
