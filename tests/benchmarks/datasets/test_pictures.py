"""RAF-DB, AffectNet and FER+ in generated trees of their official layouts."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.ferplus import majority
from emo_edge.benchmarks.datasets.registry import open_dataset
from emo_edge.errors import InputError
from emo_edge.media.images import write_image
from emo_edge.taxonomy import EXPRESSIONS, LABEL_SETS


def picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((8, 10, 3), value, np.uint8), overwrite=True)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def rafdb(root: Path, part: str = "basic", *lines: str) -> Path:
    codes = range(1, 8 if part == "basic" else 12)
    rows = lines or ["train_00001.jpg 4", *(f"test_{code:04d}.jpg {code}" for code in codes)]
    text(root / part / "EmoLabel/list_patition_label.txt", *rows)
    (root / part / "Image/aligned").mkdir(parents=True)
    for row in rows:
        stem = row.partition(".jpg")[0]
        if "/" not in stem:
            picture(root / part / f"Image/aligned/{stem}_aligned.jpg")
    return root / part


def test_rafdb_basic(tmp_path: Path) -> None:
    home = rafdb(tmp_path)
    text(home / "Annotation/manual/test_0003_manu_attri.txt", *["10.5\t20"] * 5, "1", "2", "3")
    text(home / "Annotation/manual/test_0004_manu_attri.txt", *["10.5\t20"] * 5, "0", "7", "3")
    found = open_dataset("rafdb", tmp_path)
    assert found.labels == LABEL_SETS["rafdb7"] and found.cut and not found.clips
    assert [(one.key, one.label) for one in found.items] == [(f"test_{code:04d}.jpg", code - 1) for code in range(1, 8)]
    assert found.items[2].groups == {"gender": "female", "race": "Asian", "age": "40-69"}
    assert found.items[3].groups == {}
    assert found.items[0].image.shape == (8, 10, 3) and found.items[0].box is None
    assert found.notes == ("6 of 7 pictures have no attributes in Annotation/manual",)
    assert found.source == "RAF-DB basic, test: EmoLabel/list_patition_label.txt, Image/aligned"
    train = open_dataset("rafdb", home, split="train")
    assert [(one.key, train.labels[one.label]) for one in train.items] == [("train_00001.jpg", "happiness")]
    assert train.notes[1] == "no sample of surprise, fear, disgust, sadness, anger, neutral"


def test_rafdb_compound(tmp_path: Path) -> None:
    rafdb(tmp_path, "compound")
    found = open_dataset("rafdb-compound", tmp_path)
    assert found.labels == LABEL_SETS["rafdb-compound11"] and found.truth.tolist() == list(range(11))


def test_rafdb_originals_have_boxes(tmp_path: Path) -> None:
    home = text(tmp_path / "EmoLabel/list_patition_label.txt", "test_0001.jpg 5", "test_0002.jpg 5").parent.parent
    for stem in ("test_0001", "test_0002"):
        picture(home / f"Image/original/{stem}.jpg")
    text(home / "Annotation/boundingbox/test_0001_boundingbox.txt", "1.5 2.5 7.0 8.0")
    found = open_dataset("rafdb", home)
    assert [one.frames()[0].box for one in found.items] == [(1.5, 2.5, 7, 8), None]
    assert not found.cut and found.source.endswith("Image/original")


def test_rafdb_tells_what_is_missing_doubled_or_torn(tmp_path: Path) -> None:
    lines = ["test_0001.jpg 1", "test_0001.jpg 1", "test_0002.jpg 2", "test_0002.jpg 3", "test_0003.jpg 3"]
    home = rafdb(tmp_path, "basic", *lines)
    (home / "Image/aligned/test_0003_aligned.jpg").unlink()
    found = open_dataset("rafdb", tmp_path)
    assert [one.key for one in found.items] == ["test_0001.jpg"]
    assert [str(problem) for problem in found.problems] == [
        "1 listed more than once, kept once: test_0001.jpg",
        "1 listed with different labels: test_0002.jpg",
        "1 missing files: test_0003_aligned.jpg",
    ]
    (home / "Image/aligned/test_0001_aligned.jpg").unlink()
    with pytest.raises(InputError, match="no sample is left"):
        open_dataset("rafdb", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "test_0001.jpg",
            "line 1: a line has a name that begins with train_ or test_, and a code, not 'test_0001.jpg'",
        ),
        ("other.jpg 3", "begins with train_ or test_"),
        ("test_/../x.jpg 3", "line 1: a path stays inside the data set's folder"),
        ("test_0001.jpg 8", "unknown labels '8' (1); say what each is with `label_map` 8=LABEL"),
        ("train_00001.jpg 8", "no sample is left"),
    ],
)
def test_rafdb_lines_that_are_wrong(tmp_path: Path, line: str, message: str) -> None:
    rafdb(tmp_path, "basic", line)
    with pytest.raises(InputError) as caught:
        open_dataset("rafdb", tmp_path)
    assert message in str(caught.value)


def test_a_code_can_be_mapped_and_a_label_left_out(tmp_path: Path) -> None:
    rafdb(tmp_path, "basic", "test_0001.jpg 8", "test_0002.jpg 7", "test_0003.jpg 1")
    found = open_dataset("rafdb", tmp_path, label_map={"8": "fear", "neutral": ""})
    assert [found.labels[one.label] for one in found.items] == ["fear", "surprise"]
    with pytest.raises(InputError, match="`label_map` 8=contempt: choose from surprise, fear"):
        open_dataset("rafdb", tmp_path, label_map={"8": "contempt"})


def test_rafdb_splits(tmp_path: Path) -> None:
    rafdb(tmp_path)
    with pytest.raises(InputError, match="rafdb has no split val: choose from train, test"):
        open_dataset("rafdb", tmp_path, split="val")
    with pytest.raises(InputError, match="rafdb has no folds"):
        open_dataset("rafdb", tmp_path, fold=2)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    home = rafdb(tmp_path)
    (home / "EmoLabel/list_patition_label.txt").write_bytes(b"test_0001.jpg 1\n\xff\xfe\n")
    with pytest.raises(InputError, match="cannot be read"):
        open_dataset("rafdb", tmp_path)


def annotated(root: Path, name: str, value: object) -> None:
    picture(root / f"images/{name}.jpg")
    (root / "annotations").mkdir(exist_ok=True)
    np.save(root / f"annotations/{name}_exp.npy", np.array(value))
    np.save(root / f"annotations/{name}_val.npy", np.array("0.1"))


def test_affectnet_of_numpy_files(tmp_path: Path) -> None:
    for name, value in (("10", "1"), ("2", 7), ("3", 0.0), ("4", "x"), ("5", 1.5)):
        annotated(tmp_path / "val_set", name, value)
    picture(tmp_path / "val_set/images/6.jpg")
    (tmp_path / "val_set/annotations/7_exp.npy").write_bytes(pickle.dumps(3))
    found = open_dataset("affectnet8", tmp_path)
    assert found.labels == EXPRESSIONS
    assert [(one.key, one.label) for one in found.items] == [("2.jpg", 7), ("3.jpg", 0), ("10.jpg", 1)]
    assert [str(problem) for problem in found.problems] == [
        "1 pictures without a label: 6.jpg",
        "3 with a label that cannot be read: 4.jpg, 5.jpg, 7.jpg",
    ]
    assert found.notes[0] == "AffectNet's validation set: it has no public test set"
    seven = open_dataset("affectnet7", tmp_path, split="val")
    assert seven.labels == EXPRESSIONS[:7] and [one.key for one in seven.items] == ["3.jpg", "10.jpg"]
    assert "1 with contempt, not one of the 7 expressions: 2.jpg" in map(str, seven.problems)
    assert not any("public test" in note for note in seven.notes)


def test_affectnet_labels_and_pictures_that_are_not_there(tmp_path: Path) -> None:
    annotated(tmp_path / "train_set", "1", "11")
    with pytest.raises(InputError, match=r"unknown labels '11' \(1\)"):
        open_dataset("affectnet8", tmp_path, split="train")
    with pytest.raises(InputError, match=r"val_set or .*validation\.csv .*is missing"):
        open_dataset("affectnet8", tmp_path)
    annotated(tmp_path / "train_set", "1", "1")
    (tmp_path / "train_set/images/1.jpg").unlink()
    with pytest.raises(InputError, match=r"1 missing files: 1\.jpg"):
        open_dataset("affectnet8", tmp_path, split="train")


HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


@pytest.mark.parametrize("header", [(HEADER,), ()])
def test_affectnet_of_lists(tmp_path: Path, header: tuple[str, ...]) -> None:
    for name in ("a", "b", "c", "d"):
        picture(tmp_path / f"Manually_Annotated/Manually_Annotated_Images/1/{name}.jpg")
    text(
        tmp_path / "Manually_Annotated_file_lists/validation.csv",
        *header,
        "1/a.jpg,1,2,5,4,1.5;2.5,6,-0.1,0.2",
        "1/b.jpg,0,0,-1,-1,1.5;2.5,0,-0.1,0.2",
        "1/c.jpg,0,0,5,5,1.5;2.5,10,-2,-2",
        "1/d.jpg,0,0,5,5,1.5;2.5,7,-2,-2",
    )
    found = open_dataset("affectnet7", tmp_path)
    assert [(one.key, one.label, one.box) for one in found.items] == [
        ("1/a.jpg", 6, (1, 2, 6, 6)),
        ("1/b.jpg", 0, None),
    ]
    assert [str(problem) for problem in found.problems] == [
        "1 with no face, not one of the 7 expressions: 1/c.jpg",
        "1 with contempt, not one of the 7 expressions: 1/d.jpg",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, "../a.jpg,1,2,5,4,x,6"), "line 2: a path stays inside the data set's folder"),
        ((HEADER, "1/a.jpg,1,2,wide,4,x,6"), "line 2: could not convert string to float: 'wide'"),
        ((HEADER, "1/a.jpg,1"), "line 2: 2 cells; subDirectory_filePath, "),
        (("image,label", "a.jpg,1"), "a header with subDirectory_filePath, "),
        ((), "a header with subDirectory_filePath, "),
        ((HEADER, '"1/a.jpg'), "cannot be read"),
        ((HEADER,), "no sample is left"),
    ],
)
def test_affectnet_lists_that_are_wrong(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    text(tmp_path / "validation.csv", *lines)
    (tmp_path / "Manually_Annotated_Images").mkdir()
    with pytest.raises(InputError) as caught:
        open_dataset("affectnet8", tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ((6, 0, 1, 1, 0, 0, 0, 0, 2, 0), "neutral"),
        ((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), "unknown"),
        ((4, 1, 1, 1, 1, 1, 1, 0, 0, 0), "neutral"),
        ((0, 0, 0, 0, 0, 2, 0, 6, 2, 0), "contempt"),
        ((1, 0, 0, 0, 0, 0, 0, 0, 0, 9), "NF"),
        ((0, 1, 0, 4, 0, 0, 0, 0, 5, 0), "unknown"),
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "unknown"),
    ],
)
def test_the_official_majority(votes: tuple[int, ...], label: str) -> None:
    assert majority(votes) == label


VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
ROWS = (
    "Training,fer0000000.png,9,0,0,0,0,0,0,0,0,1",
    "PublicTest,fer0000001.png,0,10,0,0,0,0,0,0,0,0",
    "PrivateTest,fer0000002.png,0,0,0,8,1,0,0,0,1,0",
    "PrivateTest,,0,0,0,0,0,0,0,0,0,10",
    "PrivateTest,fer0000004.png,5,0,0,5,0,0,0,0,0,0",
    "PrivateTest,fer0000005.png,0,0,0,0,0,0,0,0,1,9",
    "PrivateTest,fer0000006.png,0,0,0,0,0,0,0,9,0,1",
)
TOLD = [
    "1 rows without a picture, as in the official list: line 5",
    "1 without a majority, or unknown: fer0000004.png",
    "1 whose votes see no face: fer0000005.png",
]


def fer2013(path: Path, usages: list[str]) -> Path:
    rows = [f"3,{' '.join([str(index)] * 48 * 48)},{usage}" for index, usage in enumerate(usages)]
    return text(path, "emotion,pixels,Usage", *rows)


def test_ferplus_of_folders(tmp_path: Path) -> None:
    text(tmp_path / "fer2013new.csv", VOTES, *ROWS)
    for name in ("fer0000002", "fer0000006"):
        picture(tmp_path / f"data/FER2013Test/{name}.png")
    found = open_dataset("ferplus", tmp_path)
    assert found.labels == LABEL_SETS["ferplus8"] and found.cut
    assert [(one.key, found.labels[one.label]) for one in found.items] == [
        ("fer0000002.png", "sadness"),
        ("fer0000006.png", "contempt"),
    ]
    assert [str(problem) for problem in found.problems] == TOLD


def test_ferplus_of_pixels(tmp_path: Path) -> None:
    text(tmp_path / "fer2013new.csv", VOTES, *ROWS)
    fer2013(tmp_path / "fer2013.csv", [row.partition(",")[0] for row in ROWS])
    text(tmp_path / "data/FER2013Test/label.csv", "another.png,9,0,0,0,0,0,0,0,0,0")
    found = open_dataset("ferplus", tmp_path)
    assert [str(problem) for problem in found.problems] == TOLD
    assert [one.key for one in found.items] == ["fer0000002.png", "fer0000006.png"]
    assert found.items[1].image.shape == (48, 48, 3) and (found.items[1].image == 6).all()
    assert open_dataset("ferplus", tmp_path, split="val").truth.tolist() == [1]
    assert open_dataset("ferplus", tmp_path, split="train").truth.tolist() == [0]


def test_ferplus_pixels_that_do_not_fit(tmp_path: Path) -> None:
    text(tmp_path / "fer2013new.csv", VOTES, *ROWS)
    usages = [row.partition(",")[0] for row in ROWS]
    fer2013(tmp_path / "fer2013.csv", usages[1:])
    with pytest.raises(InputError, match=r"fer2013new.csv and fer2013.csv differ in rows or Usage"):
        open_dataset("ferplus", tmp_path)
    text(tmp_path / "fer2013.csv", "emotion,pixels", "1,2")
    with pytest.raises(InputError, match="a header emotion,pixels,Usage is expected"):
        open_dataset("ferplus", tmp_path)
    text(tmp_path / "fer2013.csv", "emotion,pixels,Usage", *(f"1,2 300,{usage}" for usage in usages))
    with pytest.raises(InputError, match="no picture of 48 x 48 grey values"):
        _ = open_dataset("ferplus", tmp_path).items[0].image


@pytest.mark.parametrize("box", ['"(0, 0, 48, 48)",', ""])
def test_ferplus_label_files(tmp_path: Path, box: str) -> None:
    picture(tmp_path / "FER2013Valid/a.png")
    text(tmp_path / "FER2013Valid/label.csv", f"a.png,{box}0,0,0,0,9,0,1,0,0,0", f"b.png,{box}0,9,0,0,0,0,1,0,0,0")
    found = open_dataset("ferplus", tmp_path, split="val")
    assert [found.labels[one.label] for one in found.items] == ["anger"]
    assert [str(problem) for problem in found.problems] == ["1 missing files: b.png"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("PrivateTest,a.png,1,2", "line 2: 4 cells; Usage, Image name, "),
        ("PrivateTest,a.png,x,0,0,0,0,0,0,0,0,0", "line 2: invalid literal"),
        ("PrivateTest,a.png,-3,0,0,0,0,0,0,0,0,0", "line 2: ten counts of votes are expected"),
        ("PrivateTest,../a.png,9,0,0,0,0,0,0,0,0,0", "line 2: a path stays inside the data set's folder"),
    ],
)
def test_ferplus_votes_that_are_wrong(tmp_path: Path, row: str, message: str) -> None:
    text(tmp_path / "fer2013new.csv", VOTES, row)
    (tmp_path / "FER2013Test").mkdir()
    with pytest.raises(InputError) as caught:
        open_dataset("ferplus", tmp_path)
    assert message in str(caught.value)
    text(tmp_path / "FER2013Test/label.csv", "a.png,1,2")
    (tmp_path / "fer2013new.csv").unlink()
    with pytest.raises(InputError, match="ten counts of votes are expected"):
        open_dataset("ferplus", tmp_path)
