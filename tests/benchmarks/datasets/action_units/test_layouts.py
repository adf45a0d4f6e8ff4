"""DISFA and BP4D from small trees of their layouts: labels, missing ones, frames, folds, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.action_units import bp4d as bp4d_module
from emo_edge.benchmarks.datasets.action_units import disfa as disfa_module
from emo_edge.benchmarks.datasets.action_units.recordings import folds_of_file, of_the_folds, subject_exclusive
from emo_edge.benchmarks.datasets.action_units.registry import open_units
from emo_edge.errors import InputError
from emo_edge.export.configs.action_units import BP4D_UNITS, DISFA_UNITS


def written_disfa(root: Path, subjects: list[str], first: int = 1, frames: int = 6) -> Path:
    """Write intensities that are the frame's position plus the unit's column, from 0 to 5."""
    for subject in subjects:
        folder = root / "ActionUnit_Labels" / subject
        folder.mkdir(parents=True)
        for column, unit in enumerate(DISFA_UNITS):
            lines = [f"{first + row},{(row + column) % 6}" for row in range(frames)]
            (folder / f"{subject}_au{unit}.txt").write_text("\n".join(lines) + "\n")
    return root


def written_bp4d(root: Path, keys: list[str]) -> Path:
    """Write three frames from 2440 on; a unit is active where the frame's position plus its number is even."""
    folder = root / "AUCoding" / "AU_OCC"
    folder.mkdir(parents=True)
    columns = list(range(1, 30))
    for key in keys:
        rows = [[2440 + row, *((row + unit) % 2 for unit in columns)] for row in range(3)]
        lines = [",".join(map(str, row)) for row in ([0, *columns], *rows)]
        (folder / f"{key}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("first", [0, 1])
def test_disfa_as_it_is_written(tmp_path: Path, first: int) -> None:
    dataset = open_units(f"disfa:{written_disfa(tmp_path, ['SN001', 'SN006'], first)}")
    assert dataset.units == DISFA_UNITS and [one.subject for one in dataset.recordings] == ["SN001", "SN006"]
    recording = dataset.recordings[0]
    assert recording.first_frame == first and recording.frames.tolist() == list(range(first, first + 6))
    assert recording.intensities is not None and recording.intensities[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert recording.active[:, 0].tolist() == [0, 0, 1, 1, 1, 1], "active from 2 on"
    assert recording.intensities[:, 3].tolist() == [3, 4, 5, 0, 1, 2]
    assert dataset.notes == (f"frames are counted from {first}",)


@pytest.mark.parametrize("code", ["9", "999"])
def test_a_missing_label_of_disfa_is_missing(tmp_path: Path, code: str) -> None:
    path = written_disfa(tmp_path, ["SN001"]) / "ActionUnit_Labels/SN001/SN001_au4.txt"
    path.write_text(path.read_text().replace("2,3", f"2,{code}"))
    recording = open_units(f"disfa:{tmp_path}").recordings[0]
    assert recording.intensities is not None
    assert math.isnan(recording.active[1, 2]) and math.isnan(recording.intensities[1, 2])
    assert np.isnan(recording.active).sum() == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2,3", "2,6", "line 2: a label is 0 to 5, or 9 or 999 where it is missing, not '2,6'"),
        ("2,3", "2;3", "line 2: a line has a frame and an intensity"),
        ("1,2\n", "", "the first frame is 0 or 1, not 2"),
        ("3,4\n", "", "line 3: frame 4 follows frame 2"),
        ("6,1\n", "", "the frames of au4 are others than those of au1"),
        ("2,3", "2,2.5", "a whole number is expected"),
    ],
)
def test_labels_of_disfa_that_cannot_be_right(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written_disfa(tmp_path, ["SN001"]) / "ActionUnit_Labels/SN001/SN001_au4.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        open_units(f"disfa:{tmp_path}")


def test_a_unit_without_a_file_and_a_tree_without_people(tmp_path: Path) -> None:
    written_disfa(tmp_path / "one", ["SN001"])
    (tmp_path / "one/ActionUnit_Labels/SN001/SN001_au9.txt").unlink()
    with pytest.raises(InputError, match=r"SN001_au9.txt is missing. Expected:\n  ActionUnit_Labels"):
        open_units(f"disfa:{tmp_path / 'one'}")
    (tmp_path / "two/ActionUnit_Labels/Person1").mkdir(parents=True)
    with pytest.raises(InputError, match="no folder of a person"):
        open_units(f"disfa:{tmp_path / 'two'}")
    (tmp_path / "three").mkdir()
    with pytest.raises(InputError, match="ActionUnit_Labels is missing"):
        open_units(f"disfa:{tmp_path / 'three'}")


def test_bp4d_as_it_is_written(tmp_path: Path) -> None:
    dataset = open_units(f"bp4d:{written_bp4d(tmp_path, ['F001_T1', 'F001_T2', 'M002_T1', 'F099_T1'])}")
    assert dataset.units == BP4D_UNITS
    assert [one.key for one in dataset.recordings] == ["F001_T1", "F001_T2", "M002_T1"], "F099 is in no fold"
    recording = dataset.recordings[0]
    assert (recording.subject, recording.frames.tolist()) == ("F001", [2440, 2441, 2442])
    assert recording.active[:, BP4D_UNITS.index(7)].tolist() == [1, 0, 1]
    assert recording.active[:, BP4D_UNITS.index(24)].tolist() == [0, 1, 0]
    assert recording.intensities is None and recording.first_frame is None
    assert dataset.notes[0].startswith("13 tasks are not there: F001_T3, F001_T4")


@pytest.mark.parametrize("code", ["9", "999"])
def test_a_missing_label_of_bp4d_is_missing(tmp_path: Path, code: str) -> None:
    path = written_bp4d(tmp_path, ["F001_T1"]) / "AUCoding/AU_OCC/F001_T1.csv"
    path.write_text(path.read_text().replace("2441,0", f"2441,{code}"))
    assert np.argwhere(np.isnan(open_units(f"bp4d:{tmp_path}").recordings[0].active)).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2441,0", "2441,2", "line 3: a label is 0 to 1, or 9 or 999"),
        ("2441,0", "2440,0", "its frames do not ascend"),
        ("0,1,2,3", "frame,1,2,3", "a header with 0, 1, 2, 4"),
        ("2441,0", "x,0", "line 3: could not convert"),
    ],
)
def test_labels_of_bp4d_that_cannot_be_right(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written_bp4d(tmp_path, ["F001_T1"]) / "AUCoding/AU_OCC/F001_T1.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        open_units(f"bp4d:{tmp_path}")


def test_a_folder_without_files_of_bp4d(tmp_path: Path) -> None:
    written_bp4d(tmp_path, [])
    with pytest.raises(InputError, match="no file of a person and a task"):
        open_units(f"bp4d:{tmp_path}")


def test_the_folds_are_those_of_the_protocol_and_nobody_is_in_two() -> None:
    assert [len(fold) for fold in disfa_module.FOLDS] == [9, 9, 9]
    assert [len(fold) for fold in bp4d_module.FOLDS] == [14, 14, 13]
    for folds in (disfa_module.FOLDS, bp4d_module.FOLDS):
        assert len({subject for fold in folds for subject in fold}) == sum(map(len, folds))
    with pytest.raises(InputError, match="mine: a, b would be tested in two folds"):
        subject_exclusive([["a", "b", "c"], ["b", "a"]], "mine")
    with pytest.raises(InputError, match="mine: a fold has nobody in it"):
        subject_exclusive([["a"], []], "mine")


def test_a_fold_that_lacks_people_is_named(tmp_path: Path) -> None:
    dataset = open_units(f"disfa:{written_disfa(tmp_path, list(disfa_module.FOLDS[0]))}")
    with pytest.raises(InputError, match=r"disfa: fold 2 lacks SN006, SN011, .*measure another `fold`"):
        of_the_folds(dataset, dataset.folds)
    kept, folds = of_the_folds(dataset, dataset.folds, 1)
    assert len(kept.recordings) == 9 and folds == (disfa_module.FOLDS[0],)
    with pytest.raises(InputError, match="disfa has folds 1 to 3"):
        of_the_folds(dataset, dataset.folds, 4)


def test_folds_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([["SN001"], ["SN002", "SN003"]]))
    assert folds_of_file(path) == (("SN001",), ("SN002", "SN003"))
    path.write_text(json.dumps([["SN001"], ["SN001"]]))
    with pytest.raises(InputError, match="SN001 would be tested in two folds"):
        folds_of_file(path)
    for wrong in ("{", "[1]", "[[1]]", '{"a": []}'):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"folds\.json"):
            folds_of_file(path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("disfo:x", "disfo:x: no such data set. Choose from bp4d:FOLDER, disfa:FOLDER.*disfa"),
        ("disfa", "name the folder of your copy, disfa:FOLDER"),
        ("disfa:/nowhere/at/all", "/nowhere/at/all: no such folder"),
        ("", "no name: no such data set"),
    ],
)
def test_names_that_are_none(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_units(spec)


def test_the_parts_of_bp4d_are_those_that_others_publish() -> None:
    """As they stand in the protocol, one of both sexes and every digit of it."""
    parts = (
        "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014",
        "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018",
        "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015",
    )
    assert tuple(" ".join(fold) for fold in bp4d_module.FOLDS) == parts
