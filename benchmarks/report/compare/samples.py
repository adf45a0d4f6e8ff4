"""Predictions of each row for each sample, as a benchmark keeps them next to its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.rendering.tables.files import open_parquet
from emo_edge.utils.json_values import json_values

FOLDER = "samples"
ENDINGS = (".parquet", ".jsonl")
"""The second of reports that emo-edge 0.1 wrote."""
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Answered:
    """True and predicted label of each sample that has a truth, by key; indices into the labels of the data set."""

    truth: dict[str, int]
    predicted: dict[str, int]


def answered_samples(folder: Path, name: str, labels: int) -> Answered | None:
    """Read the samples of a row; None where none were kept.

    Args:
        folder: of the report.
        name: of the row.
        labels: how many there are.

    Raises InputError for a file that is cut off or does not fit the labels, and names the row.
    """
    # A name from a report is not trusted to stay in the folder.
    if Path(name).name != name:
        return None
    path = next((one for end in ENDINGS if (one := folder / FOLDER / f"{name}{end}").is_file()), None)
    if path is None:
        return None
    truth: dict[str, int] = {}
    predicted: dict[str, int] = {}
    try:
        for number, values in enumerate(_values(path), 1):
            row = _row(values, labels)
            if row is None:
                raise InputError(
                    f"{path}, row {number}: cut off, or not a sample of {labels} labels; copy the file whole"
                )
            key, true, scores = row
            if true is not None:
                truth[key], predicted[key] = true, int(np.argmax(scores))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy it again, or move it away") from error
    return Answered(truth, predicted)


def reordered(answered: Answered, labels: Sequence[str], order: Sequence[str]) -> Answered:
    """Return samples whose labels are indices into ``labels`` with indices into ``order``, which has the same names."""
    moved = [order.index(label) for label in labels]
    parts = ({key: moved[label] for key, label in part.items()} for part in (answered.truth, answered.predicted))
    return Answered(*parts)


def common(before: Answered, after: Answered) -> tuple[Ids, Ids, Ids]:
    """Return truth and both predicted labels of the samples in both that have the same truth, int64 [N] each."""
    keys = [key for key, true in before.truth.items() if after.truth.get(key) == true]
    truth, first, second = ([own[key] for key in keys] for own in (before.truth, before.predicted, after.predicted))
    return np.array(truth, np.int64), np.array(first, np.int64), np.array(second, np.int64)


def _values(path: Path) -> Iterator[Any]:
    """Yield the rows of a file, of Parquet a few at a time; None for a line that is no JSON."""
    if path.suffix == ".parquet":
        with open_parquet().ParquetFile(path.absolute()) as file:
            for batch in file.iter_batches(columns=["key", "truth", "scores"]):
                yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json_values(line)
            except ValueError:
                yield None


def _row(row: Any, labels: int) -> tuple[str, int | None, list[float]] | None:
    try:
        key, true, scores = row["key"], row["truth"], row["scores"]
        fits = isinstance(key, str) and len(scores) == labels and (true is None or 0 <= true < labels)
        return (key, true, [float(score) for score in scores]) if fits else None
    except (ValueError, TypeError, KeyError):
        return None
