"""DISFA: 27 people who watch a film, twelve action units from 0 to 5 in each frame, eight of which the field measures.

Source: Mavadati et al., "DISFA: A Spontaneous Facial Action Intensity Database" (IEEE TAC 2013),
http://mohammadmahoor.com/disfa/, which gives the files on request. Layout, folds and the threshold of 2 as in
tool/DISFA_image_label_process.py of CVI-SZU/ME-GraphAU, whose ``fold1`` tests the third of these parts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.datasets.action_units.recordings import (
    FloatArray,
    Recording,
    UnitDataset,
    labels_of_codes,
    subject_exclusive,
)
from emo_edge.benchmarks.datasets.layout import first_there, list_lines, whole_number
from emo_edge.errors import InputError
from emo_edge.export.configs.action_units import DISFA_UNITS

ACTIVE_FROM = 2
HIGHEST = 5
FOLDS = subject_exclusive(
    (
        ("SN001", "SN002", "SN009", "SN010", "SN016", "SN026", "SN027", "SN030", "SN032"),
        ("SN006", "SN011", "SN012", "SN013", "SN018", "SN021", "SN024", "SN028", "SN031"),
        ("SN003", "SN004", "SN005", "SN007", "SN008", "SN017", "SN023", "SN025", "SN029"),
    ),
    "DISFA",
)
LAYOUT = """  ActionUnit_Labels/SN001/SN001_au1.txt     frame,intensity
                                            (likewise au2, au4, au6, au9, au12, au25, au26)"""


def disfa(root: Path) -> UnitDataset:
    """Read the labels of all people of a copy.

    Raises InputError for another layout, a missing file of a unit, and labels that cannot be read.
    """
    home = first_there(root, ("ActionUnit_Labels",), LAYOUT)
    people = [subject for fold in FOLDS for subject in fold if (home / subject).is_dir()]
    if not people:
        raise InputError(f"{home}: no folder of a person. Expected:\n{LAYOUT}")
    recordings = tuple(_recording(home, subject) for subject in sorted(people))
    bases = {recording.first_frame for recording in recordings}
    notes = (f"frames are counted from {' and '.join(str(base) for base in sorted(bases, key=str))}",)
    return UnitDataset("disfa", DISFA_UNITS, recordings, FOLDS, notes)


def _recording(home: Path, subject: str) -> Recording:
    columns = [_column(first_there(home / subject, (f"{subject}_au{unit}.txt",), LAYOUT)) for unit in DISFA_UNITS]
    frames = columns[0][0]
    for unit, (own, _) in zip(DISFA_UNITS, columns, strict=True):
        if not np.array_equal(own, frames):
            raise InputError(
                f"{home / subject}: the frames of au{unit} are others than those of au{DISFA_UNITS[0]}: copy both again"
            )
    intensities = np.stack([labels for _, labels in columns], axis=1)
    active = np.where(np.isnan(intensities), np.nan, intensities >= ACTIVE_FROM)
    return Recording(subject, subject, frames, active, intensities, int(frames[0]))


def _column(path: Path) -> tuple[NDArray[np.int64], FloatArray]:
    """Read one unit's frames and intensities; the first frame shows whether they are counted from 0 or from 1."""
    rows = np.array(list(list_lines(path, _row)), np.int64).reshape(-1, 2)
    frames = rows[:, 0]
    if not len(frames) or frames[0] not in (0, 1):
        first = frames[0] if len(frames) else "nothing"
        raise InputError(f"{path}: the first frame is 0 or 1, not {first}: which one it is cannot be seen otherwise")
    if (np.diff(frames) != 1).any():
        row = int(np.flatnonzero(np.diff(frames) != 1)[0])
        raise InputError(f"{path}, line {row + 2}: frame {frames[row + 1]} follows frame {frames[row]}")
    return frames, labels_of_codes(rows[:, 1], HIGHEST)


def _row(line: str) -> tuple[int, int]:
    cells = line.split(",")
    if len(cells) != 2:
        raise ValueError("a line has a frame and an intensity")
    frame, code = (whole_number(cell) for cell in cells)
    labels_of_codes(np.array([code]), HIGHEST)
    return frame, code
