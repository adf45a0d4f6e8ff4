"""BP4D: 41 people in eight tasks, twelve action units coded as present or not in the frames that the field measures.

Source: Zhang et al., "BP4D-Spontaneous: a high-resolution spontaneous 3D dynamic facial expression database" (Image and
Vision Computing 2014), which is given on request. Layout and folds as in tool/BP4D_image_label_process.py of
CVI-SZU/ME-GraphAU, whose ``fold1`` tests the third of these parts. FMAE-IAT's default branch carries another, random
split, whose figures are not comparable with these.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from emo_edge.benchmarks.datasets.action_units.recordings import (
    Recording,
    UnitDataset,
    labels_of_codes,
    subject_exclusive,
)
from emo_edge.benchmarks.datasets.layout import csv_rows, first_there, whole_number
from emo_edge.errors import InputError
from emo_edge.export.configs.action_units import BP4D_UNITS

TASKS = tuple(f"T{number}" for number in range(1, 9))
FRAME = "0"
"""First cell of the header, above the frames; the others are numbers of units."""
_FOLDS = (
    ((1, 2, 8, 9, 10, 16, 18, 23), (1, 4, 7, 8, 12, 14)),
    ((3, 5, 11, 13, 20, 22), (2, 5, 10, 11, 13, 16, 17, 18)),
    ((4, 6, 7, 12, 14, 15, 17, 19, 21), (3, 6, 9, 15)),
)
"""Numbers of women and men."""
FOLDS = subject_exclusive(
    [[*(f"F{one:03d}" for one in women), *(f"M{one:03d}" for one in men)] for women, men in _FOLDS], "BP4D"
)
LAYOUT = """  AUCoding/AU_OCC/F001_T1.csv     header 0,1,2,4,6,... above frame and 0, 1, or 9 where it is missing"""
_NAME = re.compile(r"(?P<subject>[FM]\d{3})_(?P<task>T\d)\.csv")


def bp4d(root: Path) -> UnitDataset:
    """Read the labels of all people of a copy; a frame's number is that of its picture, img/F001/T1/2440.jpg.

    Raises InputError for another layout, a missing column of a unit, and labels that cannot be read.
    """
    home = first_there(root, ("AUCoding/AU_OCC", "AU_OCC"), LAYOUT)
    names = sorted(path.name for path in home.iterdir() if _NAME.fullmatch(path.name))
    people = {subject for fold in FOLDS for subject in fold}
    recordings = [_recording(home / name) for name in names if name.partition("_")[0] in people]
    if not recordings:
        raise InputError(f"{home}: no file of a person and a task. Expected:\n{LAYOUT}")
    there = {recording.key for recording in recordings}
    subjects = {recording.subject for recording in recordings}
    absent = [f"{one}_{task}" for one in sorted(subjects) for task in TASKS if f"{one}_{task}" not in there]
    more = ", ..." if len(absent) > 5 else ""
    notes = (f"{len(absent)} tasks are not there: {', '.join(absent[:5])}{more}",) if absent else ()
    return UnitDataset("bp4d", BP4D_UNITS, tuple(recordings), FOLDS, notes)


def _recording(path: Path) -> Recording:
    frames, codes = [], []
    for number, (frame, *cells) in csv_rows(path, (FRAME, *map(str, BP4D_UNITS))):
        try:
            frames.append(whole_number(frame))
            codes.append(labels_of_codes(np.array([whole_number(cell) for cell in cells]), 1))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}, not {', '.join((frame, *cells))[:80]!r}") from error
    numbers = np.array(frames, np.int64)
    if not len(numbers) or (np.diff(numbers) <= 0).any():
        raise InputError(f"{path}: its frames do not ascend, or there is none: copy it again")
    return Recording(path.stem, path.stem.partition("_")[0], numbers, np.stack(codes), None, None)
