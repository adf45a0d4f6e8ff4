"""Cost of each GGUF type, with and without an imatrix: ``python -m emo_edge.benchmarks.studies.gguf_types``.

Statistics are collected on drawings of one seed, everything is measured on drawings of another, and every distance is
from the PyTorch reference in float32. emo-tiny by default: a demonstration model that learnt drawings.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from emo_edge.assets.packaged import Sample, packaged_checkpoint
from emo_edge.benchmarks.emo_tiny.samples import CALIBRATION_SEED, HELD_OUT_SEED, synthetic_samples
from emo_edge.bundle.gguf_types import UNWEIGHTED
from emo_edge.bundle.imatrix_file import Imatrix, write_imatrix
from emo_edge.calibration.language.imatrix import ImportanceCollector
from emo_edge.calibration.language.mixed_types import BASE, measured_options
from emo_edge.calibration.language.mixture_search import Mixture, MixtureSearch
from emo_edge.calibration.language.variants import GroundTruth, measured_file
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.gguf.file_types import FILE_TYPES, available_file_types
from emo_edge.export.gguf.trials import LanguageTrials, unrounded_gguf
from emo_edge.export.reference.answers import answered_prompts
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import reference_on
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import write_json

LABELS = LABEL_SETS["rafdb7"]
TYPES = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m", "iq4_xs", "iq3_xxs", "q2_k", "iq2_xs")
MIXED_LIKE = ("q5_k_m", "q4_k_m", "q3_k_m", "q2_k")
"""Stock types that our mixture is compared with at their size."""
NO_IMATRIX, MULTIMODAL = "no imatrix", "multimodal imatrix"
SOURCES = {NO_IMATRIX: None, "text-only imatrix": False, MULTIMODAL: True}
"""Column to True or False, for prompts with or without the frames; None collects nothing."""
AT_ONCE = 16
ANSWERED = 64
"""Samples whose answers are scored, token by token."""


@dataclass(frozen=True)
class Row:
    """One file: its type, its statistics, its size and its evidence."""

    file_type: str
    statistics: str
    size: int
    evidence: Mapping[str, float]
    types: Mapping[str, str] = field(default_factory=dict)
    """Tensor name to type, where a search chose them."""


@dataclass(frozen=True)
class Search:
    """Basis of the choice of a mixture: trials on samples that nothing is measured on, and the statistics."""

    trials: LanguageTrials
    statistics: Mapping[str, Path | None]
    """By name; the multimodal ones are those of the search."""
    work: Path


class Measured:
    """Files of one language model, each written, measured on the held-out samples and removed."""

    def __init__(self, trials: LanguageTrials, truth: GroundTruth, work: Path) -> None:
        self.trials, self.truth, self.path = trials, truth, work / "measured.gguf"

    def row(
        self,
        file_type: str,
        statistics: str,
        importance: Path | None,
        types: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Row:
        """Measure one file; ``name`` is the name of a mixture."""
        self.path.unlink(missing_ok=True)
        try:
            self.trials.make(self.path, file_type, importance, types)
            evidence = measured_file(self.trials, self.path, file_type, self.truth)
            return Row(name or file_type, statistics, self.path.stat().st_size, evidence, dict(types or {}))
        finally:
            self.path.unlink(missing_ok=True)


def collect(model: EmoLlamaForConditionalGeneration, samples: Sequence[Sample], *, visual: bool) -> Imatrix:
    """Collect statistics over the samples' prompts, with or without the frames' tokens."""
    collector = ImportanceCollector(model.language)
    for start in range(0, len(samples), AT_ONCE):
        asked = answered_prompts(model, samples[start : start + AT_ONCE], LABELS, visual=visual)
        collector.add(asked.prompts, asked.answers)
    return collector.imatrix(f"{len(samples)} samples, {'frames and text' if visual else 'text alone'}")


def stock_rows(
    measured: Measured, types: Sequence[str], statistics: Mapping[str, Path | None], report: Callable[[Row], None]
) -> list[Row]:
    """Measure every type under every kind of statistics that it can use."""
    rows = []
    for file_type in types:
        for name, path in statistics.items():
            if (path is None and file_type not in FILE_TYPES) or (path is not None and file_type in UNWEIGHTED):
                continue
            rows.append(measured.row(file_type, name, path))
            report(rows[-1])
    return rows


def mixed_rows(
    measured: Measured, search: Search, sizes: Mapping[str, int], report: Callable[[Row], None]
) -> list[Row]:
    """Measure our mixture at each size; ``sizes`` are those of stock types, by name."""
    trials, rows, importance = search.trials, [], search.statistics[MULTIMODAL]
    options = measured_options(trials, trials.reference.probabilities, importance, search.work)
    searching = MixtureSearch(trials, trials.reference.probabilities, options, importance, search.work)
    for name, size in sizes.items():
        mixture = searching.best(size, _searched)
        for statistics, importance in search.statistics.items():
            chosen = "; chosen" if importance == mixture.importance else ""
            title = f"our mixed, at most {name}'s size ({mixture.origin}{chosen})"
            rows.append(measured.row(BASE, statistics, importance, mixture.types, title))
            report(rows[-1])
    return rows


def _searched(mixture: Mixture) -> None:
    statistics = "with" if mixture.importance else "without"
    click.echo(f"searched: {mixture.origin}, {statistics} imatrix: mean KL {mixture.divergence:.2e}", file=sys.stderr)


def table(rows: Sequence[Row]) -> str:
    """Write the rows as Markdown."""
    lines = [
        "| type | statistics | MB | label agreement (95 %) | mean KL | KL, 95th percentile "
        "| UAR | change of UAR (95 %), points | McNemar p | perplexity | cues F1 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        evidence = row.evidence
        low, high = evidence["label_agreement_low"], evidence["label_agreement_high"]
        cues = f"{evidence['cue_f1']:.3f}" if "cue_f1" in evidence else "-"
        change = [f"{100 * evidence[f'uar_delta{end}']:+.1f}" for end in ("", "_low", "_high")]
        lines.append(
            f"| {row.file_type} | {row.statistics} | {row.size / 1e6:.2f} "
            f"| {evidence['label_agreement']:.3f} ({low:.3f}–{high:.3f}) "
            f"| {evidence['kl_mean']:.2e} | {evidence['kl_p95']:.2e} "
            f"| {evidence['uar']:.3f} | {change[0]} ({change[1]} to {change[2]}) | {evidence['mcnemar_p']:.2f} "
            f"| {evidence['perplexity']:.4f} | {cues} |"
        )
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/quantization"), show_default=True)
@click.option("--calibration", default=128, show_default=True, type=click.IntRange(1), help="Drawings to collect on.")
@click.option("--held-out", default=1000, show_default=True, type=click.IntRange(1), help="Drawings to measure on.")
@click.option("--types", default=",".join(TYPES), show_default=True, help="File types, in this order.")
@click.option("--workers", default=usable_cpus(), show_default=True, help="Processes that render.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(
    checkpoint: Path | None,
    work: Path,
    calibration: int,
    held_out: int,
    types: str,
    workers: int,
    json_path: Path | None,
) -> None:
    """Measure GGUF types of CHECKPOINT's language model (the packaged emo-tiny by default) on held-out drawings."""
    started, directory = time.perf_counter(), checkpoint or packaged_checkpoint("emo-tiny")
    model = EmoLlamaForConditionalGeneration.from_pretrained(directory)
    requested = _requested_types(types, available_file_types(model.config.language, importance=True))
    shutil.rmtree(work, ignore_errors=True)
    (work / "search").mkdir(parents=True)
    calibration_samples = synthetic_samples(calibration, CALIBRATION_SEED, workers=workers)
    statistics = _statistics(model, calibration_samples, work)
    held = synthetic_samples(held_out, HELD_OUT_SEED, workers=workers)
    source = unrounded_gguf(directory, model.config.language, work)
    trials, searched = _trials(model, source, held), _trials(model, source, calibration_samples)
    labels = [LABELS.index(str(sample.expression)) for sample in held]
    cues = [sample.cues or frozenset() for sample in held[:ANSWERED]]
    truth = GroundTruth(trials.reference.probabilities, labels, trials.answered.descriptions, cues)
    measured = Measured(trials, truth, work)
    rows = stock_rows(measured, requested, statistics, _report_row)
    sizes = {row.file_type: row.size for row in rows if row.file_type in MIXED_LIKE and row.statistics == MULTIMODAL}
    if sizes:
        rows += mixed_rows(measured, Search(searched, statistics, work / "search"), sizes, _report_row)
    click.echo(table(rows))
    click.echo(
        f"\nAgainst PyTorch float32 on {held_out} synthetic drawings, seed {HELD_OUT_SEED}; statistics, and the search "
        f"for mixtures, on {calibration} of seed {CALIBRATION_SEED}. Perplexity of the reference's own answers, and "
        f"F1 of the facial cues in descriptions against its words: {ANSWERED} drawings."
        f"\n{describe_machine()}; {time.perf_counter() - started:.0f} s"
    )
    if json_path:
        write_json(json_path, {"machine": describe_machine(), "rows": [asdict(row) for row in rows]})


def _statistics(
    model: EmoLlamaForConditionalGeneration, samples: Sequence[Sample], work: Path
) -> dict[str, Path | None]:
    files: dict[str, Path | None] = {}
    for name, visual in SOURCES.items():
        files[name] = None if visual is None else work / f"{name.replace(' ', '-')}.gguf"
        if visual is not None:
            write_imatrix(collect(model, samples, visual=visual), work / f"{name.replace(' ', '-')}.gguf")
    return files


def _trials(model: EmoLlamaForConditionalGeneration, source: Path, samples: Sequence[Sample]) -> LanguageTrials:
    answered = answered_prompts(model, samples[:ANSWERED], LABELS)
    return LanguageTrials(source, model.config.language, reference_on(model, samples, LABELS), answered, None)


def _requested_types(text: str, known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise click.UsageError(f"--types: no {', '.join(unknown) or 'type'}; this model can be {', '.join(known)}")
    return names


def _report_row(row: Row) -> None:
    click.echo(f"{row.file_type}, {row.statistics}: mean KL {row.evidence['kl_mean']:.2e}", file=sys.stderr)


if __name__ == "__main__":
    main()
