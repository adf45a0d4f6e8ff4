"""CASME II, SAMM, iMiGUE and Real-Life Trial from small trees of their layouts, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from emo_edge.benchmarks.datasets.affective import imigue as imigue_module
from emo_edge.benchmarks.datasets.affective.registry import open_clips
from emo_edge.benchmarks.datasets.affective.sheets import sheet_rows
from emo_edge.errors import InputError, MissingExtraError
from tests.benchmarks.datasets.affective.trees import (
    CASME2,
    written_casme2,
    written_imigue,
    written_samm,
    written_trial,
)


@pytest.mark.parametrize("below", ["", "Cropped", "CASME2_RAW_selected"])
def test_casme2_as_it_is_written(tmp_path: Path, below: str) -> None:
    dataset = open_clips(f"casme2:{written_casme2(tmp_path, below=below)}")
    assert dataset.labels == ("negative", "positive", "surprise") and dataset.frames_per_second == 200
    assert [(clip.key, clip.label) for clip in dataset.clips] == [
        ("sub01/EP02_01f", "positive"),
        ("sub02/EP01_11f", "negative"),
        ("sub17/EP05_09", "surprise"),
        ("sub17/EP05_10", "negative"),
    ]
    first, second = dataset.clips[:2]
    assert (first.subject, first.onset, first.apex, first.offset) == ("sub01", 46, 59, 86)
    assert second.apex is None, "the apex / is none"
    assert first.path == tmp_path / below / "sub01/EP02_01f" and next(first.path.iterdir()).name == "img46.jpg"
    assert [str(problem) for problem in dataset.problems] == ["1 with others, none of the three classes: sub01/EP03_02"]
    assert dataset.left_out == {"sub01/EP03_02"}


@pytest.mark.parametrize("frames", [[59, 46, 86], [46, 90, 86], [86, "/", 46], [46, 46, 46]])
def test_clips_out_of_order_are_left_out_and_named(tmp_path: Path, frames: list[Any]) -> None:
    rows = [*CASME2, ["03", "EP01_2", "", *frames, "", "4", "disgust"]]
    dataset = open_clips(f"casme2:{written_casme2(tmp_path, rows)}")
    assert "sub03/EP01_2" not in [clip.key for clip in dataset.clips]
    assert "1 whose onset, apex and offset are not in this order: sub03/EP01_2" in map(str, dataset.problems)


def test_clips_without_files_and_clips_listed_twice(tmp_path: Path) -> None:
    written_casme2(tmp_path, [*CASME2, CASME2[0]])
    (tmp_path / "sub17/EP05_09/img91.jpg").unlink()
    (tmp_path / "sub17/EP05_09").rmdir()
    dataset = open_clips(f"casme2:{tmp_path}")
    problems = [str(problem) for problem in dataset.problems]
    assert "1 missing files: sub17/EP05_09" in problems
    assert "1 listed more than once, kept once: sub01/EP02_01f" in problems
    assert "sub01/EP02_01f" not in dataset.left_out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ApexFrame", "Apex", "no row has the columns .* missing in .*: ApexFrame"),
        ("surprise", "amazement", "row 5: unknown emotion 'amazement'; known are happiness, surprise"),
        ("91,113", "91,11x", "row 5: could not convert string to float: '11x'"),
        ("91,113", "91.5,113", "row 5: a whole number is expected, not '91.5'"),
        ("91,113", "-91,113", "row 5: a frame is 0 or more, not -91"),
        ("91,113", "1e300,113", "row 5: a whole number is expected"),
    ],
)
def test_tables_of_casme2_that_cannot_be_right(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written_casme2(tmp_path) / "CASME2-coding-20140508.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        open_clips(f"casme2:{tmp_path}")


def test_a_tree_without_table_people_or_usable_clips(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"CASME2-coding\*\.xlsx \(or \.csv\) is missing"):
        open_clips(f"casme2:{tmp_path}")
    path = written_casme2(tmp_path, [CASME2[1]]) / "CASME2-coding-20140508.csv"
    with pytest.raises(InputError, match=r"casme2: no clip is left\n  1 with others"):
        open_clips(f"casme2:{tmp_path}")
    (tmp_path / "two").mkdir()
    path.rename(tmp_path / "two" / path.name)
    with pytest.raises(InputError, match="no folder sub"):
        open_clips(f"casme2:{tmp_path / 'two'}")


def test_samm_as_it_is_written(tmp_path: Path) -> None:
    dataset = open_clips(f"samm:{written_samm(tmp_path)}")
    assert [(clip.key, clip.subject, clip.label) for clip in dataset.clips] == [
        ("006/006_1_2", "006", "negative"),
        ("006/006_2_1", "006", "positive"),
    ]
    assert (dataset.clips[0].onset, dataset.clips[0].apex, dataset.clips[0].offset) == (5562, 5588, 5632)
    assert dataset.left_out == {"011/011_3_1"}


def test_the_same_sheet_exported_to_csv(tmp_path: Path) -> None:
    path = written_samm(tmp_path) / "SAMM_Micro_FACS_Codes_v2.xlsx"
    dataset = open_clips(f"samm:{tmp_path}")
    wanted = "Subject", "Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Estimated Emotion"
    rows = [cells for _, cells in sheet_rows(path, wanted, "MICRO_ONLY")]
    path.with_suffix(".csv").write_text("\n".join(",".join(row) for row in [list(wanted), *rows]))
    path.unlink()
    assert open_clips(f"samm:{tmp_path}") == dataset


def test_sheets_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written_samm(tmp_path) / "SAMM_Micro_FACS_Codes_v2.xlsx"
    with pytest.raises(InputError, match="no sheet MACRO; there are NOTES, MICRO_ONLY"):
        list(sheet_rows(path, ("Subject",), "MACRO"))
    with pytest.raises(InputError, match=r"missing in 'Subject, Filename, .*': Frame$"):
        list(sheet_rows(path, ("Subject", "Frame"), "MICRO_ONLY"))
    monkeypatch.setattr("emo_edge.benchmarks.datasets.affective.sheets.LARGEST_SHEET", 100)
    with pytest.raises(InputError, match="unpacked, more than"):
        list(sheet_rows(path, ("Subject",)))
    monkeypatch.undo()
    monkeypatch.setattr("emo_edge.benchmarks.datasets.affective.sheets.MOST_ROWS", 3)
    with pytest.raises(InputError, match="more than 3 rows"):
        list(sheet_rows(path, ("Subject",), "MICRO_ONLY"))
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match=r"no \.xlsx file .*copy it again, or export the sheet to CSV"):
        open_clips(f"samm:{tmp_path}")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "text")
    with pytest.raises(InputError, match=r"no \.xlsx file"):
        open_clips(f"samm:{tmp_path}")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"emo-edge\[sheets\]"):
        open_clips(f"samm:{tmp_path}")


PHASES = {1: "iMiGUE_RGB_Phase1/imigue_rgb_train", 2: "iMiGUE_RGB_Phase1/imigue_rgb_validate", 9: "imigue_rgb_test"}
GESTURES = [[1, 2, 7, 10, 20], [1, 2, 99, 30, 60], [2, 4, 17, 5, 9], [9, 3, 1, 100, 130], [9, 3, 31, 140, 150]]


def test_imigue_as_it_is_written(tmp_path: Path) -> None:
    written_imigue(tmp_path, GESTURES, PHASES)
    test, train = open_clips(f"imigue:{tmp_path}"), open_clips(f"imigue:{tmp_path}", "train")
    assert [(clip.key, clip.subject, clip.label) for clip in test.clips] == [
        ("0009_100_130", "3", "turtle neck"),
        ("0009_140_150", "3", "shaking shoulders"),
    ]
    assert [clip.label for clip in train.clips] == ["rubbing eyes", "illustrative body language", "folding arms"]
    assert len(test.labels) == 32 and train.clips[2].path.parts[-3:] == ("imigue_rgb_validate", "0002", "0002.mp4")
    assert (test.clips[0].onset, test.clips[0].offset) == (100, 130)
    assert test.notes == ("gestures of the body: a crop of the face cannot hold them",)


def test_35_people_of_imigue_test_and_37_train() -> None:
    assert len(imigue_module.TEST) == 35 and imigue_module.PEOPLE - len(imigue_module.TEST) == 37
    assert set(range(1, 73)) >= imigue_module.TEST and len(set(imigue_module.GESTURES)) == 32


@pytest.mark.parametrize(
    ("rows", "folders", "message"),
    [
        ([[1, 3, 1, 0, 5], [9, 3, 1, 0, 5]], PHASES, "subject 3 has videos in the folders of both splits"),
        ([[1, 73, 1, 0, 5]], {}, "line 2: subject_id is 1 to 72, not 73"),
        ([[1, 3, 33, 0, 5]], {}, "line 2: class is 1 to 31 or 99, not 33"),
        ([[1, 3, 1, 0, 5], [1, 7, 1, 0, 5]], {}, "line 3: video 1 is of subject 7 and of 3"),
        ([[1, 3, 1, 0, 5]], {}, "imigue, test: no clip is left\n  1 missing files: 0001_0_5"),
        ([[9, 3, 1, 9, 5]], PHASES, "1 whose onset, apex and offset are not in this order"),
    ],
)
def test_labels_of_imigue_that_cannot_be_right(
    tmp_path: Path, rows: list[list[int]], folders: dict[int, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_clips(f"imigue:{written_imigue(tmp_path, rows, folders)}")


def test_a_column_of_imigue_that_is_missing(tmp_path: Path) -> None:
    path = written_imigue(tmp_path, GESTURES, PHASES) / "Label/labels_20200831.csv"
    path.write_text(path.read_text().replace("subject_id", "subject"))
    with pytest.raises(InputError, match="a header with video_id, subject_id, class, start_frame, end_frame"):
        open_clips(f"imigue:{tmp_path}")


def test_real_life_trial_as_it_is_written(tmp_path: Path) -> None:
    dataset = open_clips(f"rltrial:{written_trial(tmp_path)}")
    assert [(clip.key, clip.label, clip.subject) for clip in dataset.clips[1:3]] == [
        ("trial_lie_002", "deceptive", "trial_lie_002"),
        ("trial_truth_001", "truthful", "trial_truth_001"),
    ]
    assert dataset.notes[0].startswith("no facial sign of lying is known")
    assert "intervals are over clips, and too narrow" in dataset.notes[1]
    assert "2 clips are deceptive, the data set has 61" in dataset.notes
    whole = open_clips(f"rltrial:{written_trial(tmp_path / 'whole', 61, 60)}")
    assert len(whole.clips) == 121 and len(whole.notes) == 2


def test_speakers_of_real_life_trial(tmp_path: Path) -> None:
    names = ["trial_lie_001.mp4,one", "trial_lie_002,one", "trial_truth_001,two", "trial_truth_002.mp4,one"]
    path = written_trial(tmp_path) / "speakers.csv"
    path.write_text("\n".join(["clip,speaker", *names]))
    dataset = open_clips(f"rltrial:{tmp_path}")
    assert [clip.subject for clip in dataset.clips] == ["one", "one", "two", "one"]
    assert not any("speakers" in note for note in dataset.notes)
    path.write_text("\n".join(["clip,speaker", *names[:3]]))
    with pytest.raises(InputError, match=r"speakers\.csv does not say who speaks in trial_truth_002"):
        open_clips(f"rltrial:{tmp_path}")


def test_clips_of_real_life_trial_in_the_wrong_folder(tmp_path: Path) -> None:
    (written_trial(tmp_path) / "Clips/Truthful/trial_lie_009.mp4").touch()
    with pytest.raises(InputError, match=r"trial_lie_009\.mp4 belong to the other label"):
        open_clips(f"rltrial:{tmp_path}")
    (tmp_path / "two/Clips/Deceptive").mkdir(parents=True)
    with pytest.raises(InputError, match="Truthful is missing"):
        open_clips(f"rltrial:{tmp_path / 'two'}")


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("casme3:x", None, "Choose from casme2:FOLDER, samm:FOLDER, rltrial:FOLDER, imigue:FOLDER"),
        ("casme2:.", "test", "casme2 has no splits, it is measured by leaving people out: leave `split` test out"),
        ("imigue:.", "val", "`split` val: choose from train, test"),
    ],
)
def test_names_and_splits_that_are_none(spec: str, split: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_clips(spec, split)
