"""Record of a calibration: lines of the bundle's provenance, and a report of everything measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emo_edge import __version__
from emo_edge.bundle.manifest import Manifest
from emo_edge.calibration.language.variants import LanguageVariant
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.workflow.gated_profile import INT8
from emo_edge.calibration.workflow.graphs import Int8Variant


@dataclass(frozen=True)
class NewVariants:
    """Variants that one calibration wrote."""

    graphs: Sequence[Int8Variant]
    language: Sequence[LanguageVariant]

    def names(self) -> set[tuple[str, str]]:
        """Return component and name of each."""
        return {("language", one.name) for one in self.language} | {(one.component, INT8) for one in self.graphs}


def calibration_provenance(counts: str, drawn: DrawnSamples, seed: int, variants: NewVariants) -> dict[str, str]:
    """Describe the samples, with ``counts`` of their use, and how each variant was made."""
    # A later calibration may keep a variant of this one: each names the samples it was made and measured on.
    stamp = f" (samples {drawn.digest[:8]})"
    used = f"{counts}, {len(drawn.skipped)} pictures skipped, seed {seed}, sha256 {drawn.digest}"
    return {
        "calibration": f"{used}, emo-edge {__version__}",
        **{f"{one.component} {INT8}": one.summary() + stamp for one in variants.graphs},
        **{f"language {one.name}": one.origin + stamp for one in variants.language},
    }


def calibration_report(manifest: Manifest, skipped: Sequence[str], variants: NewVariants) -> dict[str, Any]:
    """Collect everything measured, INT8 plans node by node and every time among it, as JSON holds it."""
    return {
        "calibration": manifest.provenance["calibration"],
        "skipped": list(skipped),
        "graphs": {one.component: _graph(one) for one in variants.graphs},
        "language": {
            one.name: {"made": one.origin, "types": dict(one.types), "evidence": one.evidence}
            for one in variants.language
        },
        "profiles": {name: profile.model_dump() for name, profile in manifest.profiles.items()},
    }


def _graph(one: Int8Variant) -> dict[str, Any]:
    result = one.result
    return {
        "method": result.method,
        "methods": {name: asdict(cost) for name, cost in result.methods.items()},
        "plan": result.plan.as_json(),
        "residual_peak": result.residual_peak,
        "evidence": one.variant.evidence,
        "speed": {"beside": one.baseline, **one.speed.as_json()},
    }
