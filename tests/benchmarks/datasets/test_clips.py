"""DFEW, FERV39k and MAFW in generated trees of their official layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.registry import open_dataset
from emo_edge.errors import InputError
from emo_edge.media.images import write_image
from emo_edge.taxonomy import LABEL_SETS


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def frames(folder: Path, count: int = 12, prefix: str = "") -> Path:
    """Make a folder of frames, each of its own grey; ten and more come after nine only in natural order."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        write_image(folder / f"{prefix}{number}.png", np.full((6, 6, 3), number * 10, np.uint8))
    return folder


def video(path: Path) -> Path:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    # AVI content below an MP4's name: the reader goes by content, and this codec is always there.
    writer = cv2.VideoWriter(str(path.with_suffix(".avi")), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (32, 32))
    for _ in range(4):
        writer.write(np.full((32, 32, 3), 60, np.uint8))
    writer.release()
    return path.with_suffix(".avi").replace(path)


def dfew(root: Path, *rows: str, marked: str = "single-labeled") -> Path:
    text(root / f"EmoLabel_DataSplit/test({marked})/set_3.csv", "video_name,label", *rows)
    return root


@pytest.mark.parametrize("marked", ["single-labeled", "single_labeled"])
def test_dfew_aligned(tmp_path: Path, marked: str) -> None:
    dfew(tmp_path, *(f"{code},{code}" for code in range(1, 8)), "16372,3", marked=marked)
    for name in (1, 2, 3, 4, 5, 6, 16372):
        frames(tmp_path / f"Clip/clip_224x224/{name:05d}", prefix=f"{name:05d}_")
    found = open_dataset("dfew", tmp_path, fold=3)
    assert found.labels == LABEL_SETS["dfew7"] and found.clips and found.cut
    assert [one.key for one in found.items] == ["00001", "00002", "00003", "00004", "00005", "00006", "16372"]
    assert found.truth.tolist() == [0, 1, 2, 3, 4, 5, 2]
    assert [str(problem) for problem in found.problems] == ["1 missing files: 00007"]
    assert found.notes == ("no sample of fear",)
    assert [int(frame.image[0, 0, 0]) for frame in found.items[0].frames(4)] == [20, 50, 80, 110]
    assert int(found.items[0].image[0, 0, 0]) == 70
    assert found.source == f"DFEW, test, fold 3: EmoLabel_DataSplit/test({marked})/set_3.csv, Clip/clip_224x224"


def test_dfew_original(tmp_path: Path) -> None:
    dfew(tmp_path, "00001,7", "2.mp4,7")
    video(tmp_path / "Clip/original/00001.mp4")
    found = open_dataset("dfew", tmp_path, fold=3)
    assert not found.cut and found.items[0].image.shape == (32, 32, 3)
    (tmp_path / "Clip/original/00001.mp4").unlink()
    with pytest.raises(InputError, match="00001: no such clip"):
        found.items[0].frames()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,0", "unknown labels '0' (1)"),
        ("1,8", "unknown labels '8' (1)"),
        ("1", "line 2: 1 cells; video_name, label expected"),
        ("../../1,1", "line 2: a path stays inside the data set's folder, not '../../1'"),
    ],
)
def test_dfew_rows_that_are_wrong(tmp_path: Path, row: str, message: str) -> None:
    dfew(tmp_path, row)
    frames(tmp_path / "Clip/clip_224x224/00001")
    with pytest.raises(InputError) as caught:
        open_dataset("dfew", tmp_path, fold=3)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["dfew", "mafw", "mafw-compound"])
@pytest.mark.parametrize("fold", [None, 0, 6])
def test_folds_are_named(tmp_path: Path, name: str, fold: int | None) -> None:
    with pytest.raises(InputError, match=f"{name} is measured fold by fold: name one with `fold`, 1 to 5"):
        open_dataset(name, tmp_path, fold=fold)


def test_a_fold_that_is_not_there(tmp_path: Path) -> None:
    dfew(tmp_path, "1,1")
    with pytest.raises(InputError, match=r"set_1\.csv or .*set_1\.csv is missing. Expected:"):
        open_dataset("dfew", tmp_path, fold=1)
    with pytest.raises(InputError, match="dfew has no split val: choose from train, test"):
        open_dataset("dfew", tmp_path, "val", 1)


@pytest.mark.parametrize("home", ["2_ClipsforFaceCrop", "2_ClipsforFaceCrop/2_ClipsforFaceCrop", "."])
def test_ferv39k(tmp_path: Path, home: str) -> None:
    words = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    rows = [f"Action/{word}/0001 {word}" for word in words]
    text(tmp_path / "4_setups/All_scenes/test_All.csv", *rows, "War/Sad/0002 Sad")
    for row in rows:
        frames(tmp_path / home / row.partition(" ")[0], 2)
    found = open_dataset("ferv39k", tmp_path)
    assert found.labels == LABEL_SETS["ferv39k7"] and found.truth.tolist() == list(range(7))
    assert found.clips and found.cut == (home != ".")
    assert found.items[0].key == "Action/Angry/0001" and found.items[0].groups == {"scene": "Action"}
    assert [str(problem) for problem in found.problems] == ["1 missing files: War/Sad/0002"]
    assert len(found.items[0].frames(2)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0001 Sad", "line 1: a line has scene/label/clip and a label, not '0001 Sad'"),
        ("Action/Sad/0001", "line 1: a line has scene/label/clip and a label"),
        ("Action/../../../x Sad", "line 1: a path stays inside"),
        ("Action/Sad/0001 Bored", "unknown labels 'Bored' (1)"),
        ("Action/Sad/0001 Contempt", "unknown labels 'Contempt' (1)"),
    ],
)
def test_ferv39k_lines_that_are_wrong(tmp_path: Path, line: str, message: str) -> None:
    text(tmp_path / "4_setups/All_scenes/test_All.csv", line)
    frames(tmp_path / "2_ClipsforFaceCrop/Action/Sad/0001", 1)
    with pytest.raises(InputError) as caught:
        open_dataset("ferv39k", tmp_path)
    assert message in str(caught.value)


def test_mafw_single(tmp_path: Path) -> None:
    labels = LABEL_SETS["mafw11"]
    rows = [f"{number:05d}.mp4 {label}" for number, label in enumerate(labels)]
    text(tmp_path / "Train & Test Set/single/no_caption/set_2/test.txt", *rows, rows[0])
    for row in rows[1:]:
        video(tmp_path / "data/clips" / row.partition(" ")[0])
    found = open_dataset("mafw", tmp_path, fold=2)
    assert found.labels == labels and found.clips and not found.cut
    assert [(one.key, one.label) for one in found.items] == [(f"{number:05d}", number) for number in range(1, 11)]
    assert [str(problem) for problem in found.problems] == [
        "1 listed more than once, kept once: 00000",
        "1 missing files: 00000",
    ]
    assert len(found.items[0].frames(3)) == 3
    with pytest.raises(InputError, match=r"train\.txt is missing"):
        open_dataset("mafw", tmp_path, "train", 2)


def test_mafw_compound(tmp_path: Path) -> None:
    rows = ("00001.mp4 anger_disgust", "00002.mp4 contempt", "00003.mp4\tfear_sadness_anxiety")
    path = text(tmp_path / "Train & Test Set/compound/no_caption/set_1/train.txt", *rows)
    for number in (1, 2, 3):
        frames(tmp_path / f"data/frames/{number:05d}", 2)
    found = open_dataset("mafw-compound", tmp_path, "train", 1)
    assert len(found.labels) == len(set(found.labels)) == 43
    assert [found.labels[one.label] for one in found.items] == ["anger_disgust", "contempt", "fear_sadness_anxiety"]
    text(path, "00001.mp4 disgust_anger")
    with pytest.raises(InputError, match=r"unknown labels 'disgust_anger' \(1\)"):
        open_dataset("mafw-compound", tmp_path, "train", 1)
    text(path, "00001.mp4 anger the caption")
    with pytest.raises(InputError, match="line 1: a line has a clip and a label"):
        open_dataset("mafw-compound", tmp_path, "train", 1)
