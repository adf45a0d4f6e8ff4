"""A tracker's action units against a data set: ``python -m emo_edge.benchmarks.action_units.evaluate``.

Reads CSV files as OpenFace and ``emo-edge track`` write them, and the labels of the user's own copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from emo_edge.benchmarks.action_units.evaluation import ABSENT, Evaluation, UnitScores, evaluate
from emo_edge.benchmarks.action_units.predictions import file_of, read_predictions
from emo_edge.benchmarks.datasets.action_units.recordings import folds_of_file, of_the_folds
from emo_edge.benchmarks.datasets.action_units.registry import open_units
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.metrics.by_subject import Figure
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import write_json

FIGURES = ("auc", "icc", "pcc", "mae", "ece")


def table(evaluation: Evaluation) -> str:
    """Return the figures in Markdown, the means of the units in the last row."""
    lines = [
        "| unit | frames | active | F1, all frames (95 %) | F1, mean of folds | AUC | ICC(3,1) | PCC | MAE | ECE |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for own in evaluation.units:
        figures = " | ".join(_figure(getattr(own, name)) for name in FIGURES)
        fold = _percent(own.f1_folds)
        lines.append(f"| AU{own.unit} | {own.frames:,} | {own.active:.1%} | {_f1(own.f1)} | {fold} | {figures} |")
    means = " | ".join(_mean(evaluation.units, name) for name in FIGURES)
    lines.append(f"| mean | | | {_f1(evaluation.mean_f1)} | {_percent(evaluation.mean_f1_folds)} | {means} |")
    return "\n".join(lines)


def conditions(evaluation: Evaluation) -> str:
    """Return what the figures are of, in sentences."""
    part = evaluation.without_prediction / max(evaluation.frames, 1)
    count = {"inactive": "count as frames without any unit in F1", "left-out": "are left out"}[evaluation.absent]
    lines = [
        f"{evaluation.dataset}: {evaluation.subjects} people in {len(evaluation.folds)} folds, "
        f"{evaluation.recordings} videos, {evaluation.frames:,} labelled frames.",
        f"{evaluation.without_prediction:,} of them ({part:.1%}) have no prediction, and {count}."
        if part
        else "Every one has a prediction.",
        "Intervals are of 1,000 bootstrap draws of people. Missing labels count nowhere.",
        *(f"{note[0].upper()}{note[1:]}." for note in evaluation.notes),
    ]
    return "\n".join(lines)


def _f1(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.1f}"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f}–{100 * figure.high:.1f})"


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} ({figure.low:.2f}–{figure.high:.2f})"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _mean(units: Sequence[UnitScores], name: str) -> str:
    values = [getattr(own, name).value for own in units]
    defined = [value for value in values if value is not None]
    return f"{np.mean(defined):.2f}" if defined else "–"


@click.command(cls=EdgeCommand)
@click.option("--dataset", required=True, metavar="NAME:FOLDER", help="disfa:FOLDER or bp4d:FOLDER, your own copy.")
@click.option(
    "--predictions",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of CSV files, one a video, with its name: SN001.csv, F001_T1.csv.",
)
@click.option("--fold", type=click.IntRange(1), help="Only fold to measure; all three if left out.")
@click.option("--folds", "folds_path", type=click.Path(path_type=Path), help="JSON file of other folds of people.")
@click.option(
    "--absent",
    type=NameChoice(ABSENT),
    default="inactive",
    show_default=True,
    help="Way to count a labelled frame without a prediction in F1.",
)
@click.option("--frame-offset", type=int, help="Number to add to the predictions' frames to get those of the labels.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(
    dataset: str,
    predictions: Path,
    fold: int | None,
    folds_path: Path | None,
    absent: str,
    frame_offset: int | None,
    json_path: Path | None,
) -> None:
    """Print F1, AUC, agreement and calibration of a tracker's action units on DISFA or BP4D.

    Predictions for a person must come from a model that did not train on them: this command cannot see that.
    """
    if json_path:
        require_output(json_path)
    opened = open_units(dataset)
    kept, folds = of_the_folds(opened, folds_of_file(folds_path) if folds_path else opened.folds, fold)
    files = {one.key: file_of(predictions, one.key) for one in kept.recordings}
    read = {key: read_predictions(path, kept.units) for key, path in files.items()}
    evaluation = evaluate(read, kept, folds, absent=absent, frame_offset=frame_offset)
    click.echo(f"{table(evaluation)}\n\n{conditions(evaluation)}")
    if json_path:
        write_json(json_path, evaluation.as_dict())


if __name__ == "__main__":
    main()
