"""Calibration's measurements as one table, a line for every variant and profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emo_edge.bundle.manifest import PARTS, Manifest

Figures = Mapping[str, float]
COLUMNS = (
    "calibrated",
    "cosine",
    "agreement (95 %)",
    "KL mean, p95",
    "change of WAR, points (95 %)",
    "of UAR",
    "of macro-F1",
    "McNemar p",
    "perplexity",
    "cues F1",
    "time relative to float",
)


def evidence_table(manifest: Manifest) -> list[str]:
    """Return the lines, an empty one first; nothing for a bundle that was never calibrated."""
    rows = [(name, *_cells(cosine, labels, speed)) for name, cosine, labels, speed in _measured(manifest)]
    if not rows:
        return []
    filled = [column for column in range(len(COLUMNS)) if any(row[column] for row in rows)]
    table = [[row[column] for column in filled] for row in (COLUMNS, *rows)]
    return ["", *_aligned(table)]


def _measured(manifest: Manifest) -> Iterator[tuple[str, float | None, Figures, Figures]]:
    """Yield name, smallest cosine, label evidence and speed of each variant and profile that calibration measured."""
    for part in PARTS:
        component = manifest.components.get(part)
        for name, variant in component.variants.items() if component else ():
            labels, speed = (variant.evidence.get(key, {}) for key in ("labels", "speed"))
            if "label_agreement_low" in labels or speed:
                cosines = [row["cosine"] for row in variant.evidence.values() if "cosine" in row]
                yield f"{part} {name}", min(cosines, default=None), labels, speed
    for name, profile in manifest.profiles.items():
        if "label_agreement_low" in profile.evidence:
            yield f"profile {name}", None, profile.evidence, {}


def _cells(cosine: float | None, labels: Figures, speed: Figures) -> tuple[str, ...]:
    return (
        "" if cosine is None else f"{cosine:.5f}",
        _filled("{label_agreement:.4f} ({label_agreement_low:.4f}-{label_agreement_high:.4f})", labels),
        _filled("{kl_mean:.1e}, {kl_p95:.1e}", labels),
        *(_change(labels, figure) for figure in ("war", "uar", "macro_f1")),
        _filled("{mcnemar_p:.3f}", labels),
        _filled("{perplexity:.4f}", labels),
        _filled("{cue_f1:.3f}", labels),
        _filled("{ratio:.2f} ({ratio_p10:.2f}-{ratio_p90:.2f})", speed),
    )


def _change(labels: Figures, figure: str) -> str:
    points = {end: 100 * labels[f"{figure}_delta{end}"] for end in ("", "_low", "_high") if f"{figure}_delta" in labels}
    return f"{points['']:+.2f} ({points['_low']:+.2f} to {points['_high']:+.2f})" if points else ""


def _filled(template: str, figures: Figures) -> str:
    try:
        return template.format(**figures)
    except KeyError:
        return ""


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
