"""Predictions of each row for each sample, as a benchmark keeps them next to its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.utils.json_values import json_values

FOLDER = "samples"
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

    Raises InputError for a file that is cut off or does not fit the labels, and names the line.
    """
    path = folder / FOLDER / f"{name}.jsonl"
    # A name from a report is not trusted to stay in the folder.
    if path.parent != folder / FOLDER or Path(name).name != name or not path.is_file():
        return None
    truth: dict[str, int] = {}
    predicted: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy it again, or move it away") from error
    for number, line in enumerate(lines, 1):
        row = _row(line, labels)
        if row is None:
            raise InputError(f"{path}, line {number}: cut off, or not a sample of {labels} labels; copy the file whole")
        key, true, scores = row
        if true is not None:
            truth[key], predicted[key] = true, int(np.argmax(scores))
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


def _row(line: str, labels: int) -> tuple[str, int | None, list[float]] | None:
    try:
        row: Any = json_values(line)
        key, true, scores = row["key"], row["truth"], row["scores"]
        fits = isinstance(key, str) and len(scores) == labels and (true is None or 0 <= true < labels)
        return (key, true, [float(score) for score in scores]) if fits else None
    except (ValueError, TypeError, KeyError):
        return None
