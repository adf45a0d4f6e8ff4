"""Fit of live labels on drawn clips: ``python -m emo_edge.benchmarks.live.labels BUNDLE``.

Filters and the threshold of unchanged faces are chosen on clips of one seed and measured on those of another. The
command exits with 7 where the threshold fails its gate on the second ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.clips import FPS, SECONDS
from emo_edge.benchmarks.live.label_scores import Scores, added_delay, event_errors, filtered, mean_loss, raw, scores
from emo_edge.benchmarks.live.readings import THRESHOLDS, ReadClip, Reuse, read_clips, total
from emo_edge.benchmarks.report.marked_tables import updated
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.sections import LabelFilter, LiveLabels
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.utils.files import replace_text, write_json

FIT_SEED, HELD_OUT_SEED = 5100, 5200
METHODS = {"hidden Markov": "hidden_markov", "exponential average": "exponential_average"}
TAUS, ALPHAS = np.geomspace(0.05, 12, 10), np.geomspace(0.1, 2.5, 9)
MOST_FLIPS, MOST_KL = 0.01, 0.02
"""Gate of the threshold: changed labels as a part of all faces' frames, and the mean divergence over them."""


def fitted_filter(method: str, clips: Sequence[ReadClip]) -> LabelFilter:
    """Return the filter of least negative log-likelihood on a grid, then on a finer one around the best."""
    best, taus, alphas = (float("inf"), 1.0, 1.0), TAUS, ALPHAS
    for _ in range(2):
        for tau, alpha in product(taus, alphas):
            settings = LabelFilter(method=method, tau_s=tau, alpha=alpha, step_s=1 / FPS)
            best = min(best, (mean_loss(clips, filtered(settings)), float(tau), float(alpha)))
        ratios = (taus[1] / taus[0]) ** np.linspace(-0.7, 0.7, 5), (alphas[1] / alphas[0]) ** np.linspace(-0.7, 0.7, 5)
        taus, alphas = best[1] * ratios[0], best[2] * ratios[1]
    _, tau, alpha = best
    values = {"method": method, "tau_s": round(tau, 3), "alpha": round(alpha, 3), "step_s": 1 / FPS}
    return LabelFilter.model_validate(values)


def holds(counts: Reuse) -> bool:
    """Return True inside the gate."""
    return counts.flips <= MOST_FLIPS * counts.frames and counts.kl <= MOST_KL * counts.frames


def fitted_threshold(clips: Sequence[ReadClip]) -> float | None:
    """Return the highest threshold up to which all hold the gate surely; None where the lowest fails.

    Surely: at the upper end of the 95 % interval over the clips.
    """
    chosen = None
    for threshold in THRESHOLDS:
        rows = np.array([(one.frames, one.flips, one.kl) for one in (clip.reuse[threshold] for clip in clips)])
        flips, kl = (_upper_rate(rows[:, 0], rows[:, column]) for column in (1, 2))
        if flips > MOST_FLIPS or kl > MOST_KL:
            break
        chosen = threshold
    return chosen


def _upper_rate(frames: NDArray[np.float64], sums: NDArray[np.float64]) -> float:
    draws = resampled(lambda draw: float(sums[draw].sum() / max(frames[draw].sum(), 1)), len(frames))
    return percentile_interval(draws)[1]


def label_table(rows: Sequence[Scores]) -> str:
    """Return the ways in Markdown."""
    lines = [
        "| labels | NLL | ECE | accuracy | flips (true changes) | changes missed | delay | added delay |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        values = row.to_dict()
        missed = f"{values['missed_changes']} of {len(row.delays_s)}"
        delay, added = values["mean_delay_s"], None if row is rows[0] else added_delay(row, rows[0])
        lines.append(
            f"| {row.way} | {row.nll:.3f} | {row.ece:.3f} | {row.accuracy:.1%} "
            f"| {values['flips']} ({values['true_changes']}) | {missed} | {_milliseconds(delay)} "
            f"| {_milliseconds(added)} |"
        )
    return "\n".join(lines)


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.0f} ms"


def event_table(events: dict[str, dict[str, Any]]) -> str:
    """Return the errors of the events in Markdown."""
    lines = [
        "| event | true moments | named | other events | mean error | mean absolute error |",
        "|---|---|---|---|---|---|",
    ]
    for change, one in events.items():
        errors = [_milliseconds(one[key]) for key in ("mean_error_s", "mean_absolute_error_s")]
        lines.append(f"| {change} | {one['true']} | {one['named']} | {one['other_events']} | {' | '.join(errors)} |")
    return "\n".join(lines)


def reuse_table(fit: Sequence[ReadClip], held_out: Sequence[ReadClip], chosen: float | None) -> str:
    """Return the thresholds in Markdown."""
    lines = [
        "| threshold | reused | flips | mean KL | flips of the reused | mean KL of the reused "
        "| flips, clips of the fit | mean KL, clips of the fit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for threshold in THRESHOLDS:
        other, own = total(held_out, threshold), total(fit, threshold)
        name = f"**{threshold:g}**" if threshold == chosen else f"{threshold:g}"
        cells = [
            f"{other.reused / max(other.frames, 1):.1%}",
            *_rates(other, other.frames),
            *_rates(other, other.reused),
            *_rates(own, own.frames),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rates(counts: Reuse, frames: int) -> Iterator[str]:
    yield f"{counts.flips / max(frames, 1):.2%}"
    yield f"{counts.kl / max(frames, 1):.4f}"


def live_labels(fit: Sequence[ReadClip], held_out: Sequence[ReadClip]) -> tuple[LiveLabels, list[Scores], LabelFilter]:
    """Fit both filters; return the settings with the better one, the scores of all ways, and the other filter."""
    filters = {way: fitted_filter(method, fit) for way, method in METHODS.items()}
    rows = [scores("raw", held_out, raw), *(scores(way, held_out, filtered(one)) for way, one in filters.items())]
    order = sorted(rows[1:], key=lambda row: row.nll)
    best, other = (filters[row.way] for row in order)
    threshold = fitted_threshold(fit)
    evidence = {
        "clips": len(held_out),
        "nll_raw": round(rows[0].nll, 4),
        "nll_smoothed": round(order[0].nll, 4),
        "ece_raw": round(rows[0].ece, 4),
        "ece_smoothed": round(order[0].ece, 4),
    }
    if (delay_s := added_delay(order[0], rows[0])) is not None:
        evidence["added_delay_s"] = round(delay_s, 4)
    if threshold is not None:
        counts = total(held_out, threshold)
        evidence["unchanged_flips"] = round(counts.flips / counts.frames, 5)
        evidence["unchanged_kl"] = round(counts.kl / counts.frames, 5)
    return LiveLabels(smoothing=best, unchanged=threshold, evidence=evidence), rows, other


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--fit", default=120, show_default=True, type=click.IntRange(1), help="Clips that choose the settings.")
@click.option("--held-out", default=220, show_default=True, type=click.IntRange(1), help="Clips that measure them.")
@click.option("--workers", type=click.IntRange(1), help="Number of processes; the default is the usable CPUs.")
@click.option("--readings", type=click.Path(path_type=Path, file_okay=False), help="Folder that keeps the readings.")
@click.option("--config", type=click.Path(path_type=Path, exists=True), help="config.json that gets the settings.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Document whose marked tables to replace.")
def main(bundle: Path, **options: Any) -> None:
    """Fit smoothing and reuse of live labels on drawn clips, and measure both on others."""
    name = options["profile"] or Bundle.open(bundle).manifest.default_profile
    kept, workers = options["readings"], options["workers"] or usable_cpus()
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    fit, held_out = (
        list(read_clips(bundle, name, seed, options[count], workers, kept=kept))
        for seed, count in ((FIT_SEED, "fit"), (HELD_OUT_SEED, "held_out"))
    )
    settings, rows, other = live_labels(fit, held_out)
    assert settings.smoothing is not None
    events = event_errors(held_out, filtered(settings.smoothing))
    shown = {one.method: f"tau {one.tau_s:g} s, alpha {one.alpha:g}" for one in (settings.smoothing, other)}
    note = (
        f"Drawn clips of {SECONDS:g} s at {FPS:g} frames a second: {len(fit)} of seed {FIT_SEED} choose, "
        f"{len(held_out)} of seed {HELD_OUT_SEED} measure. Profile {name}. Shipped: "
        f"{settings.smoothing.method.replace('_', ' ')}. Hidden Markov: {shown['hidden_markov']}. Exponential average: "
        f"{shown['exponential_average']}."
    )
    parts = {
        "labels": f"{label_table(rows)}\n\n{note}\n\n{describe_machine()}.",
        "events": event_table(events),
        "reuse": reuse_table(fit, held_out, settings.unchanged),
    }
    click.echo("\n\n".join(parts.values()))
    if options["target"]:
        reuse = {
            part: [{"threshold": one, **vars(total(clips, one))} for one in THRESHOLDS]
            for part, clips in (("fit", fit), ("held_out", held_out))
        }
        document = {"machine": describe_machine(), "note": note, "live": settings.model_dump()}
        figures = {"labels": [row.to_dict() for row in rows], "events": events, "reuse": reuse}
        write_json(options["target"], {**document, **figures, "tables": parts})
    if options["page"]:
        page = options["page"]
        replace_text(page, updated(page.read_text(encoding="utf-8"), parts))
    if options["config"]:
        write_settings(options["config"], settings)
    if settings.unchanged is None or not holds(total(held_out, settings.unchanged)):
        raise AccuracyGateError("no threshold of unchanged faces holds the gate on the held-out clips")


def write_settings(config: Path, settings: LiveLabels) -> None:
    """Put the settings into a checkpoint's ``config.json``, at their place; every other character stays."""
    text = re.sub(r'\n  "live": \{.*?\n  \},', "", config.read_text(encoding="utf-8"), flags=re.DOTALL)
    behind = re.search(r'\n  "(?:tasks|provenance)": \{', text)
    if behind is None:
        raise InputError(f"{config}: no provenance at the place where emo-edge writes it")
    written = json.dumps(settings.model_dump(), indent=2, allow_nan=False).replace("\n", "\n  ")
    replace_text(config, f'{text[: behind.start()]}\n  "live": {written},{text[behind.start() :]}')


if __name__ == "__main__":
    main()
