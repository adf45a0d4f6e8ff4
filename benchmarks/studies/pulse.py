"""Heart rates of drawn faces with a known pulse: ``python -m emo_edge.benchmarks.studies.pulse``.

Clips of 10 s with a pulse and without one, with nuisances and without, read inside the box and inside landmarks by each
method. The SNR below which a pulse is refused is chosen on `THRESHOLD_SEEDS`, everything else is measured on `SEED`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.report.marked_tables import updated
from emo_edge.benchmarks.studies.pulse_traces import CONDITIONS, REGIONS, FilmedFace, filmed_face
from emo_edge.console.children import safe_path
from emo_edge.console.commands import EdgeCommand
from emo_edge.inference.signals.filters import FloatArray
from emo_edge.inference.signals.heart_rate import heart_rate, pulse_peak
from emo_edge.inference.signals.projections import METHODS
from emo_edge.inference.signals.refusals import LEAST_SNR_DB
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.metrics.bootstrap import percentile_interval, resampled
from emo_edge.metrics.classification import wilson_interval
from emo_edge.metrics.value_agreement import mean_error_of_sums, pair_sums, pearson_of_sums, squared_error_of_sums
from emo_edge.utils.files import replace_text, write_json

SEED, THRESHOLD_SEEDS = 9100, (7100, 8100)
CANDIDATES_DB = (-3.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Row:
    """One method on the clips of one condition, read in one region. Errors are in beats a minute."""

    condition: str
    region: str
    method: str
    clips: int
    """With a pulse; as many have none."""
    accepted: int
    """Of those with a pulse."""
    mae: float | None
    """Of the accepted ones; None where there is none, as for the three figures below."""
    mae_low: float | None
    mae_high: float | None
    rmse: float | None
    r: float | None
    """Pearson's correlation with the true rates; None below three clips."""
    mae_all: float
    """Of all clips with a pulse, the refused ones among them: the highest peak, whatever it is."""
    refused: int
    """Of those without a pulse."""


@dataclass(frozen=True)
class Candidate:
    """One SNR as the threshold of POS."""

    region: str
    snr_db: float
    clips: int
    accepted: int
    mae: float | None
    refused: int


def measured_rows(condition: str, faces: Sequence[FilmedFace]) -> list[Row]:
    """Return a row a region and method."""
    return [_row(condition, region, method, faces) for region in REGIONS for method in METHODS]


def _row(condition: str, region: str, method: str, faces: Sequence[FilmedFace]) -> Row:
    beating = [face for face in faces if face.bpm is not None]
    still = [face for face in faces if face.bpm is None]
    rates = [heart_rate(face.traces[region], method=method) for face in beating]
    pairs = np.array([(rate.bpm, face.bpm) for rate, face in zip(rates, beating, strict=True) if rate.reliable])
    raw = [pulse_peak(face.traces[region], method).bpm - (face.bpm or 0) for face in beating]
    refused = sum(not heart_rate(face.traces[region], method=method).reliable for face in still)
    mae, (low, high), rmse, r = _errors(pairs) if len(pairs) else (None, (None, None), None, None)
    mae_all = float(np.abs(raw).mean())
    return Row(condition, region, method, len(beating), len(pairs), mae, low, high, rmse, r, mae_all, refused)


def _errors(pairs: FloatArray) -> tuple[float, tuple[float, float], float, float | None]:
    """Return MAE, its bootstrap interval, RMSE and r of measured and true rates [N, 2]."""

    def mean_error(draw: NDArray[np.int64]) -> float:
        return mean_error_of_sums(pair_sums(pairs[draw, 1], pairs[draw, 0]))

    sums = pair_sums(pairs[:, 1], pairs[:, 0])
    interval = percentile_interval(resampled(mean_error, len(pairs)))
    r = pearson_of_sums(sums) if len(pairs) > 2 else None
    return mean_error_of_sums(sums), interval, squared_error_of_sums(sums), r


def threshold_candidates(faces: Sequence[FilmedFace]) -> list[Candidate]:
    """Return the effect of each SNR as the threshold of POS."""
    candidates = []
    for region in REGIONS:
        peaks = [(pulse_peak(face.traces[region]), face.bpm) for face in faces]
        for least in CANDIDATES_DB:
            errors = [abs(peak.bpm - bpm) for peak, bpm in peaks if bpm is not None and peak.snr_db >= least]
            refused = sum(bpm is None and peak.snr_db < least for peak, bpm in peaks)
            mae = float(np.mean(errors)) if errors else None
            candidates.append(Candidate(region, least, len(peaks) // 2, len(errors), mae, refused))
    return candidates


def table(rows: Sequence[Row]) -> str:
    """Return the rows in Markdown."""
    lines = [
        "| clips | region | method | MAE (95 %) | RMSE | r | coverage (95 %) | no pulse, refused (95 %) | MAE of all |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        error = "-" if row.mae is None else f"{row.mae:.2f} ({row.mae_low:.2f}–{row.mae_high:.2f})"
        rmse, r = ("-" if value is None else f"{value:{form}}" for value, form in ((row.rmse, ".2f"), (row.r, ".4f")))
        lines.append(
            f"| {row.condition} | {row.region} | {row.method} | {error} | {rmse} | {r} "
            f"| {_fraction(row.accepted, row.clips)} | {_fraction(row.refused, row.clips)} | {row.mae_all:.2f} |"
        )
    return "\n".join(lines)


def candidate_table(candidates: Sequence[Candidate]) -> str:
    """Return the candidates in Markdown."""
    lines = ["| region | least SNR | MAE | coverage (95 %) | no pulse, refused (95 %) |", "|---|---|---|---|---|"]
    for one in candidates:
        error = "-" if one.mae is None else f"{one.mae:.2f}"
        lines.append(
            f"| {one.region} | {one.snr_db:.1f} dB | {error} | {_fraction(one.accepted, one.clips)} "
            f"| {_fraction(one.refused, one.clips)} |"
        )
    return "\n".join(lines)


def _fraction(count: int, total: int) -> str:
    low, high = wilson_interval(count / total, total)
    return f"{count} of {total} ({low:.0%}–{high:.0%})"


def gathered(seed: int, condition: str, clips: int, workers: int, kept: Path | None) -> list[FilmedFace]:
    """Draw, film and read ``clips`` faces, each with a pulse and without one; ``kept`` is a folder of traces."""
    work = partial(filmed_face, seed, condition, folder=kept)
    with safe_path(), multiprocessing.get_context("spawn").Pool(workers) as pool:
        return [face for pair in pool.imap(work, range(clips)) for face in pair]


@click.command(cls=EdgeCommand)
@click.option("--clips", default=100, show_default=True, type=click.IntRange(1), help="Number of faces with nuisances.")
@click.option("--clean", default=100, show_default=True, type=click.IntRange(1), help="Number of faces without them.")
@click.option(
    "--threshold", default=40, show_default=True, type=click.IntRange(1), help="Number a seed of the threshold."
)
@click.option("--workers", type=click.IntRange(1), help="Number of processes; the default is the usable CPUs.")
@click.option("--traces", type=click.Path(path_type=Path), help="Folder that keeps the traces for a second run.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Document whose marked tables to replace.")
def main(
    clips: int,
    clean: int,
    threshold: int,
    workers: int | None,
    traces: Path | None,
    json_path: Path | None,
    page: Path | None,
) -> None:
    """Measure POS, CHROM and GREEN on drawn faces of which the pulse is known, and on those without one."""
    workers = workers or usable_cpus()
    chosen_on = [face for seed in THRESHOLD_SEEDS for face in gathered(seed, "nuisances", threshold, workers, traces)]
    candidates = threshold_candidates(chosen_on)
    rows = [
        row
        for condition, count in zip(CONDITIONS, (clips, clean), strict=True)
        for row in measured_rows(condition, gathered(SEED, condition, count, workers, traces))
    ]
    text = (
        f"Synthetic faces, clips of 10 s: {clips} with a pulse and {clips} without one behind nuisances, {clean} and "
        f"{clean} clean, seed {SEED}. Threshold {LEAST_SNR_DB} dB, chosen on {2 * threshold} and {2 * threshold} clips "
        f"of seeds {THRESHOLD_SEEDS[0]} and {THRESHOLD_SEEDS[1]}."
    )
    parts = {
        "pulse": table(rows),
        "conditions": f"{text}\n\n{describe_machine()}",
        "threshold": candidate_table(candidates),
    }
    click.echo("\n\n".join(parts.values()))
    if json_path:
        figures = {"rows": [asdict(row) for row in rows], "candidates": [asdict(one) for one in candidates]}
        write_json(json_path, {"machine": describe_machine(), "note": text, "least_snr_db": LEAST_SNR_DB, **figures})
    if page:
        replace_text(page, updated(page.read_text(encoding="utf-8"), parts))


if __name__ == "__main__":
    main()
