"""F1 of SACL-AU and AUFormer on drawings, part by part: ``python -m emo_edge.benchmarks.action_units``.

Each network is a reconstruction, trained on the frozen networks of emo-tiny and compared with a linear head on the same
features. Training drawings have the seed `TRAIN_SEED`, those of every figure `TEST_SEED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.action_units.features import TEST_SEED, TRAIN_SEED, drawings
from emo_edge.benchmarks.action_units.training import LOSSES, Budget
from emo_edge.benchmarks.action_units.trials import AUFORMER_FORMS, MISSING, SACL_FORMS, Scores, Study
from emo_edge.console.commands import EdgeCommand
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import write_json

PARTS = ("sacl", "auformer", "missing", "few")


def trials(study: Study, parts: Sequence[str], seeds: int, budget: Budget, auformer_epochs: int) -> Iterator[Scores]:
    """Train every head of the chosen parts with each seed."""
    for seed in range(seeds):
        yield from study.plain(seed)
        if "sacl" in parts:
            yield from (study.sacl(name, seed, budget) for name in SACL_FORMS)
        if "few" in parts:
            yield from (study.of_few(name, seed, budget) for name in SACL_FORMS)
        if "auformer" in parts:
            own = Budget(epochs=auformer_epochs, batch=50)
            yield from (study.auformer(name, seed, own) for name in AUFORMER_FORMS)
        if "missing" in parts:
            yield from (study.with_missing_labels(fraction, loss, seed) for fraction in MISSING for loss in LOSSES)


def table(rows: Sequence[Scores]) -> str:
    """Return the rows in Markdown, the seeds of one head in one row."""
    lines = [
        "| head | F1, 17 units (95 %) | beside the linear head, points (95 %) | worst unit | DISFA's 8 | BP4D's 12 "
        "| ICC(3,1) of intensities | weights | seeds | training |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(row.name for row in rows):
        own = [row for row in rows if row.name == name]
        lines.append(f"| {name} | " + " | ".join(_cells(own)) + " |")
    return "\n".join(lines)


def _cells(rows: Sequence[Scores]) -> list[str]:
    first = rows[0]
    spread = f"{100 * min(row.f1 for row in rows):.1f} to {100 * max(row.f1 for row in rows):.1f}"
    f1 = f"{100 * first.f1:.1f} ({100 * first.low:.1f}–{100 * first.high:.1f})"
    worst = min(first.by_unit, key=first.by_unit.__getitem__)
    gain = "–"
    if first.gain is not None and first.gain_low is not None and first.gain_high is not None:
        gain = f"{100 * first.gain:+.1f} ({100 * first.gain_low:+.1f} to {100 * first.gain_high:+.1f})"
    return [
        f1 if len(rows) == 1 else f"{100 * float(np.mean([row.f1 for row in rows])):.1f} ({spread} by seed)",
        gain,
        f"{worst} {100 * first.by_unit[worst]:.1f}",
        f"{100 * first.disfa:.1f}",
        f"{100 * first.bp4d:.1f}",
        "–" if first.icc is None else f"{first.icc:.2f}",
        f"{first.parameters:,}",
        f"{len(rows)}",
        f"{first.seconds:.0f} s",
    ]


@click.command(cls=EdgeCommand)
@click.option(
    "--drawings", "count", default=5000, show_default=True, type=click.IntRange(100), help="Training drawings."
)
@click.option("--test", default=1500, show_default=True, type=click.IntRange(50), help="Drawings of every figure.")
@click.option("--epochs", default=6, show_default=True, type=click.IntRange(1), help="Epochs of SACL.")
@click.option("--auformer-epochs", default=4, show_default=True, type=click.IntRange(1), help="Epochs of AUFormer.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Trainings of every head.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Comparison to run; all if left out.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the drawings; the user's cache if left out.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(
    count: int,
    test: int,
    epochs: int,
    auformer_epochs: int,
    seeds: int,
    parts: tuple[str, ...],
    cache: Path | None,
    json_path: Path | None,
) -> None:
    """Train the networks of action units on drawings, and print the F1 of each."""
    folder, workers = cache or cache_directory() / "drawings", usable_cpus()
    given = drawings("units-train", TRAIN_SEED, count, folder, workers=workers)
    held = drawings("units-test", TEST_SEED, test, folder, workers=workers)
    study = Study(EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint()), given, held)
    rows = []
    for scores in trials(study, parts or PARTS, seeds, Budget(epochs=epochs), auformer_epochs):
        rows.append(scores)
        click.echo(f"{scores.name}, seed {scores.seed}: {100 * scores.f1:.1f}, {scores.seconds:.0f} s", err=True)
        if json_path:
            write_json(json_path, _report(rows, count, test, epochs, auformer_epochs))
    click.echo(f"{table(rows)}\n\n{describe_machine()}")


def _report(rows: Sequence[Scores], count: int, test: int, epochs: int, auformer_epochs: int) -> dict[str, object]:
    settings = {"drawings": count, "test": test, "epochs": epochs, "auformer_epochs": auformer_epochs}
    return {"machine": describe_machine(), "settings": settings, "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
