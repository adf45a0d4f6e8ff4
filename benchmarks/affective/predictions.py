"""Predictions of clips in one CSV file: ``clip``, ``label``, and where there are any ``onset``, ``apex``, ``offset``.

A column with the name of a label is its score. Without ``label`` the highest score is the answer.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.benchmarks.datasets.affective.clips import NO_APEX, ClipDataset, frame_number
from emo_edge.benchmarks.datasets.layout import csv_rows, unreadable
from emo_edge.errors import InputError

CLIP, LABEL, FRAMES = "clip", "label", ("onset", "apex", "offset")


@dataclass(frozen=True)
class ClipPrediction:
    """One row: the answer to a clip, or one interval that was spotted in it."""

    clip: str
    label: str
    onset: int | None
    apex: int | None
    offset: int | None
    scores: Mapping[str, float]
    """By label; empty where the file has none."""


def read_predictions(path: Path, dataset: ClipDataset) -> list[ClipPrediction]:
    """Read a file of predictions.

    Raises InputError for a missing column, scores of some labels only, numbers that are none, a label that the data set
    has not, and a clip that it has not: a name that is typed wrong would count as a clip without an answer.
    """
    header = _header(path)
    scored = [label for label in dataset.labels if label in header]
    if scored and len(scored) < len(dataset.labels):
        absent = [label for label in dataset.labels if label not in scored]
        raise InputError(f"{path}: scores of {', '.join(absent)} are missing: give those of every label, or of none")
    if CLIP not in header or not (LABEL in header or scored):
        raise InputError(
            f"{path}: a header with {CLIP} and {LABEL}, or {CLIP} and a column a label, is expected, not "
            f"{', '.join(header)[:80]!r}"
        )
    names = [name for name in (CLIP, LABEL, *FRAMES) if name in header]
    known = {clip.key for clip in dataset.clips}
    rows = []
    for number, cells in csv_rows(path, (*names, *scored)):
        try:
            row = _row(dict(zip(names, cells, strict=False)), scored, cells[len(names) :])
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if row.clip in dataset.left_out:
            continue
        if row.clip not in known:
            examples = ", ".join(clip.key for clip in dataset.clips[:2])
            raise InputError(f"{path}, line {number}: {dataset.name} has no clip {row.clip}; it has {examples}, ...")
        if row.label not in dataset.labels:
            raise InputError(f"{path}, line {number}: label {row.label!r}; choose from {', '.join(dataset.labels)}")
        rows.append(row)
    return rows


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return [cell.strip() for cell in next(csv.reader(lines, strict=True), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def _row(cells: Mapping[str, str], labels: Sequence[str], scores: Sequence[str]) -> ClipPrediction:
    values = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    label = cells[LABEL] if LABEL in cells else max(values, key=values.__getitem__)
    onset, apex, offset = (None if cells.get(name, "") in NO_APEX else frame_number(cells[name]) for name in FRAMES)
    return ClipPrediction(cells[CLIP], label, onset, apex, offset, values)
