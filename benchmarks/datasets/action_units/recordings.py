"""Videos with a label for each frame and action unit, and the parts of people that they are tested in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import CheckpointError, InputError
from emo_edge.utils.files import read_json

FloatArray = NDArray[np.float64]
MISSING = (9, 999)
"""Codes of a label that was not given: 9 in the files of BP4D, 999 in lists that others made of them."""
Folds = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Recording:
    """One labelled video."""

    key: str
    """Name of its file of predictions, without the extension."""
    subject: str
    frames: NDArray[np.int64]
    """Numbers of the labelled frames, [N], ascending, as the data set counts them."""
    active: FloatArray
    """1 or 0 for each frame and unit, [N, U]; NaN where the label is missing."""
    intensities: FloatArray | None
    """0 to 5, [N, U]; NaN where the label is missing, None where the data set has none."""
    first_frame: int | None
    """Number of the video's first frame, 0 or 1; None where the labels do not show it."""


@dataclass(frozen=True)
class UnitDataset:
    """A data set of action units, checked."""

    name: str
    units: tuple[int, ...]
    """FACS numbers, in the order of the labels' columns."""
    recordings: tuple[Recording, ...]
    folds: Folds
    """People that each fold tests; the others train."""
    notes: tuple[str, ...]
    """Remarks on what was read."""


def subject_exclusive(folds: Sequence[Sequence[str]], source: str) -> Folds:
    """Return folds of people; raise InputError that names those who are in more than one."""
    counts = Counter(subject for fold in folds for subject in fold)
    twice = sorted(subject for subject, count in counts.items() if count > 1)
    if twice:
        raise InputError(f"{source}: {', '.join(twice)} would be tested in two folds, and train in one that tests them")
    if not folds or not all(folds):
        raise InputError(f"{source}: a fold has nobody in it")
    return tuple(tuple(fold) for fold in folds)


def folds_of_file(path: Path) -> Folds:
    """Read other folds from a JSON file: a list of lists of people, those that each fold tests."""
    try:
        folds = read_json(path, 'give a JSON file such as [["SN001", "SN002"], ["SN003"]]')
    except CheckpointError as error:
        raise InputError(str(error)) from error
    lists = isinstance(folds, list) and all(isinstance(fold, list) for fold in folds)
    if not lists or not all(isinstance(name, str) for fold in folds for name in fold):
        raise InputError(f'{path}: a list of lists of people is expected, such as [["SN001", "SN002"], ["SN003"]]')
    return subject_exclusive(folds, str(path))


def of_the_folds(dataset: UnitDataset, folds: Folds, chosen: int | None = None) -> tuple[UnitDataset, Folds]:
    """Return a data set's recordings of the people whom the folds test, and the folds that are measured.

    Args:
        dataset: as it was read.
        folds: its own, or others.
        chosen: number of the only fold that counts, from 1 on; None for all.

    Raises InputError for a number that no fold has, and for people of a fold who are not in the data set.
    """
    if chosen is not None and not 1 <= chosen <= len(folds):
        raise InputError(f"`fold` {chosen}: {dataset.name} has folds 1 to {len(folds)}")
    kept = folds if chosen is None else (folds[chosen - 1],)
    there = {recording.subject for recording in dataset.recordings}
    for number, fold in enumerate(kept, chosen or 1):
        absent = [subject for subject in fold if subject not in there]
        if absent:
            raise InputError(
                f"{dataset.name}: fold {number} lacks {', '.join(absent)}; its figures are those of all its people. "
                "Copy them, or measure another `fold`"
            )
    tested = {subject for fold in kept for subject in fold}
    recordings = tuple(recording for recording in dataset.recordings if recording.subject in tested)
    return UnitDataset(dataset.name, dataset.units, recordings, kept, dataset.notes), kept


def labels_of_codes(codes: NDArray[np.int64], highest: int) -> FloatArray:
    """Return codes as labels, NaN where one is missing; raise ValueError for a code that is neither."""
    missing = np.isin(codes, MISSING)
    wrong = ~missing & ((codes < 0) | (codes > highest))
    if wrong.any():
        raise ValueError(f"a label is 0 to {highest}, or {' or '.join(map(str, MISSING))} where it is missing")
    return np.where(missing, np.nan, codes.astype(np.float64))
