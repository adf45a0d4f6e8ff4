"""Predicted clips against a data set: ``python -m emo_edge.benchmarks.affective --dataset casme2:FOLDER``.

Reads labels of the user's own copy, and predictions in one CSV file.
"""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.benchmarks.affective.evaluation import NAMES, ClipReport, classified, spotting
from emo_edge.benchmarks.affective.predictions import read_predictions
from emo_edge.benchmarks.datasets.affective.registry import SPLITS, open_clips
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.metrics.by_subject import Figure
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import write_json


def table(report: ClipReport) -> str:
    """Return the figures in Markdown."""
    lines = ["| figure | value (95 %) |", "| --- | ---: |"]
    for name, figure in report.figures.items():
        lines.append(f"| {NAMES[name]} | {_cell(figure, name.startswith('apex'))} |")
    return "\n".join(lines)


def _cell(figure: Figure, plain: bool) -> str:
    """Return a figure as it is, or as a percentage."""
    if figure.value is None:
        return "–"
    form, scale = ("{:.1f}", 1) if plain else ("{:.1f} %", 100)
    value = form.format(scale * figure.value)
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({scale * figure.low:.1f}–{scale * figure.high:.1f})"


def conditions(report: ClipReport, spotted: bool) -> str:
    """Return what the figures are of, in sentences."""
    lost = "not spotted" if spotted else "wrong"
    lines = [
        f"{report.dataset}: {report.clips} clips of {report.subjects} people; {report.without_prediction} have no "
        f"prediction and count as {lost}.",
        "Intervals are of 1,000 bootstrap draws of people.",
        *(f"{note[0].upper()}{note[1:]}." for note in report.notes),
    ]
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.option(
    "--dataset",
    required=True,
    metavar="NAME:FOLDER",
    help="casme2:FOLDER, samm:FOLDER, imigue:FOLDER or rltrial:FOLDER, your own copy.",
)
@click.option(
    "--predictions",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV file: clip, label or a column a label with its score; onset, apex, offset as far as there are any.",
)
@click.option("--split", type=NameChoice(SPLITS), help="Part of imigue; the test set if left out.")
@click.option("--spotting", "spotted", is_flag=True, help="Rows are spotted intervals, several a clip or none.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(dataset: str, predictions: Path, split: str | None, spotted: bool, json_path: Path | None) -> None:
    """Print UF1, UAR, top-1 and top-5, apex error or STRS of predictions of clips.

    Predictions for a person must come from a model that did not train on them: this command cannot see that.
    """
    if json_path:
        require_output(json_path)
    opened = open_clips(dataset, split)
    rows = read_predictions(predictions, opened)
    report = spotting(rows, opened) if spotted else classified(rows, opened)
    click.echo(f"{table(report)}\n\n{conditions(report, spotted)}")
    if json_path:
        write_json(json_path, report.as_dict())


if __name__ == "__main__":
    main()
