"""The figures of a run in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emo_edge.benchmarks.action_units.evaluate import table as unit_table
from emo_edge.benchmarks.action_units.evaluation import Evaluation
from emo_edge.benchmarks.signals.micro_expressions import NAMES, MicroFigures
from emo_edge.metrics.by_subject import Figure

PLAIN = ("apex_hits_frames", "apex_frames", "apex_ms")
"""Figures that are no fractions."""
PEAKS = ((0.1, 0.18), (0.18, 0.26), (0.26, 0.36))
"""Strengths of true movements that are counted apart."""
DRAWN_UNITS = (
    "Drawings, no people: figures on them compare precisions and networks, nothing else. Intervals are of 1,000 "
    "bootstrap draws of people; F1 counts the frames of all three folds together, and as the mean of the folds."
)
DRAWN_CLIPS = (
    "Drawings, no people. Onset, apex and offset are spotted in the curves of the action units by triangles; nothing "
    "was trained for it. A movement is spotted where half of both intervals is shared (intersection over union). The "
    "classes are named by a fixed rule, the prototype that is most similar to the rises of the units: **untrained**. "
    "Intervals are of 1,000 bootstrap draws of faces."
)


def units_report(evaluations: Mapping[str, Evaluation], networks: Mapping[str, Sequence[str]]) -> str:
    """Return a row a precision, then the units of the first."""
    lines = [
        "| precision | profiles | F1, mean of units (95 %) | F1, mean of folds | worst unit |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for variant, own in evaluations.items():
        folds = "–" if own.mean_f1_folds is None else f"{100 * own.mean_f1_folds:.1f}"
        worst = min((one for one in own.units if one.f1.value is not None), key=lambda one: one.f1.value or 0.0)
        least = f"AU{worst.unit} {_percent(worst.f1)}"
        lines.append(f"| {variant} | {', '.join(networks[variant])} | {_percent(own.mean_f1)} | {folds} | {least} |")
    parts = ["\n".join(lines)]
    for variant, own in evaluations.items():
        parts.append(f"{variant}, {own.subjects} people, {own.frames:,} pictures:\n\n{unit_table(own)}")
    notes = [f"{note[0].upper()}{note[1:]}." for own in list(evaluations.values())[:1] for note in own.notes]
    return "\n\n".join([*parts, "\n".join([DRAWN_UNITS, *notes])])


def micro_report(measured: Mapping[str, MicroFigures], networks: Mapping[str, Sequence[str]], status: str) -> str:
    """Return a column a precision, then how the strength of a movement decides.

    ``status`` is that of the bundle's own task micro-expression, in words.
    """
    heads = [f"{variant} ({', '.join(networks[variant])})" for variant in measured]
    lines = [f"| figure | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name, text in NAMES.items():
        cells = [_cell(own.figures[name], name) if name in own.figures else "–" for own in measured.values()]
        lines.append(f"| {text} (95 %) | {' | '.join(cells)} |")
    first = next(iter(measured.values())).findings
    bands = ["| strength at the apex, of 1 | movements | spotted |", "| --- | ---: | ---: |"]
    for low, high in PEAKS:
        own = [one for one in first if one.peak is not None and low <= one.peak < high]
        hits = sum(one.hit for one in own)
        bands.append(f"| {low:.2f} to {min(high, 0.35):.2f} | {len(own)} | {hits} |")
    moving = sum(one.truth is not None for one in first)
    counts = f"{moving} clips of 2 s with a movement, {len(first) - moving} faces at rest, 30 frames a second."
    own_task = f"The bundle's own task micro-expression: {status}."
    return "\n\n".join(["\n".join(lines), "\n".join(bands), f"{counts} {DRAWN_CLIPS} {own_task}"])


def _percent(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.1f}"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f}–{100 * figure.high:.1f})"


def _cell(figure: Figure, name: str) -> str:
    if figure.value is None:
        return "–"
    form, scale = ("{:.1f}", 1.0) if name in PLAIN else ("{:.1f} %", 100.0)
    value = form.format(scale * figure.value)
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({scale * figure.low:.1f}–{scale * figure.high:.1f})"
