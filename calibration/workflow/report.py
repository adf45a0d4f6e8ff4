"""What a calibration says of itself: lines of the bundle's provenance, and a report of everything measured.

Of the command line's layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from emo_edge import __version__
from emo_edge.bundle.manifest import Manifest
from emo_edge.calibration.language.variants import LanguageVariant
from emo_edge.calibration.samples.draw import DrawnSamples
from emo_edge.calibration.workflow.gated_profile import INT8
from emo_edge.calibration.workflow.graphs import Int8Variant


def calibration_provenance(
    counts: str, drawn: DrawnSamples, seed: int, graphs: Sequence[Int8Variant], language: Sequence[LanguageVariant]
) -> dict[str, str]:
    """Say on what was calibrated, and how each variant came about; ``counts`` tells what the samples were used for."""
    # A later calibration may keep a variant of this one: each says whose samples it was made and measured on.
    stamp = f" (samples {drawn.digest[:8]})"
    used = f"{counts}, {len(drawn.skipped)} pictures skipped, seed {seed}, sha256 {drawn.digest}"
    return {
        "calibration": f"{used}, emo-edge {__version__}",
        **{f"{one.component} {INT8}": one.made() + stamp for one in graphs},
        **{f"language {one.name}": one.made + stamp for one in language},
    }


def calibration_report(
    manifest: Manifest, skipped: Sequence[str], graphs: Sequence[Int8Variant], language: Sequence[LanguageVariant]
) -> dict[str, Any]:
    """Collect everything measured, INT8 plans node by node and every time among it, as JSON holds it."""
    return {
        "calibration": manifest.provenance["calibration"],
        "skipped": list(skipped),
        "graphs": {
            one.component: {
                "method": one.planned.method,
                "methods": {name: asdict(cost) for name, cost in one.planned.methods.items()},
                "plan": one.planned.plan.as_json(),
                "residual_peak": one.planned.residual_peak,
                "evidence": one.variant.evidence,
                "speed": {"beside": one.beside, **one.speed.as_json()},
            }
            for one in graphs
        },
        "language": {
            one.name: {"made": one.made, "types": dict(one.types), "evidence": one.evidence} for one in language
        },
        "profiles": {name: profile.model_dump() for name, profile in manifest.profiles.items()},
    }
