"""Data sets by name and by path: labels, splits, what is left out, and what is wrong with the others."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.datasets import items
from emo_edge.benchmarks.datasets.layout import inside
from emo_edge.benchmarks.datasets.listing import KNOWN
from emo_edge.benchmarks.datasets.registry import DATASETS, open_dataset
from emo_edge.errors import InputError
from emo_edge.media.images import write_image


def picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((8, 10, 3), value, np.uint8))
    return path


def video(path: Path, frames: int = 6) -> Path:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (32, 32))
    for frame in range(frames):
        writer.write(np.full((32, 32, 3), frame * 40, np.uint8))
    writer.release()
    return path


def tree(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name)
    return root


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    found = open_dataset(str(tree(tmp_path, "sad/2.png", "sad/10.png", "Anger/a.png", "happily_surprised/b.png")))
    assert found.labels == ("sadness", "anger", "happily surprised")
    assert [(one.key, found.labels[one.label]) for one in found.items] == [
        ("Anger/a.png", "anger"),
        ("happily_surprised/b.png", "happily surprised"),
        ("sad/2.png", "sadness"),
        ("sad/10.png", "sadness"),
    ]
    assert not found.clips and not found.problems and not found.notes
    assert found.truth.tolist() == [1, 2, 0, 0]
    assert found.items[0].image.shape == (8, 10, 3) and found.items[0].frames()[0].box is None


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(items, "read_image", refused)
    found = open_dataset(str(tree(tmp_path, "fear/1.png")))
    with pytest.raises(AssertionError, match="decoded"):
        _ = found.items[0].image


def test_a_tree_with_splits(tmp_path: Path) -> None:
    tree(tmp_path, "Train/fear/1.png", "valid/anger/2.png", "valid/fear/3.png")
    found = open_dataset("folder", tmp_path, split="val")
    assert [one.key for one in found.items] == ["anger/2.png", "fear/3.png"]
    assert found.source == "a folder for each label, valid"
    with pytest.raises(InputError, match="has no split test: choose from train, val"):
        open_dataset(str(tmp_path))


def test_a_tree_without_splits_has_none(tmp_path: Path) -> None:
    root = tree(tmp_path, "fear/1.png")
    with pytest.raises(InputError, match="has no splits: leave `split` train out"):
        open_dataset(str(root), split="train")
    with pytest.raises(InputError, match="has no folds: leave `fold` 1 out"):
        open_dataset(str(root), fold=1)
    with pytest.raises(InputError, match="choose from train, val, test"):
        open_dataset(str(root), split="dev")


def test_a_tree_of_clips(tmp_path: Path) -> None:
    video(tmp_path / "fear/a.avi")
    for number in range(12):
        picture(tmp_path / f"anger/b/{number}.png", number * 20)
    found = open_dataset(str(tmp_path))
    assert found.clips and [one.key for one in found.items] == ["anger/b", "fear/a.avi"]
    middles = [int(frame.image[0, 0, 0]) for frame in found.items[0].frames(3)]
    assert middles == [2 * 20, 6 * 20, 10 * 20]
    assert [frame.image.shape for frame in found.items[1].frames(2)] == [(32, 32, 3)] * 2
    assert found.items[1].image.shape == (32, 32, 3)
    with pytest.raises(InputError, match="count is at least 1, not 0"):
        found.items[0].frames(0)


def test_clips_and_pictures_are_not_mixed(tmp_path: Path) -> None:
    video(tmp_path / "fear/a.avi")
    picture(tmp_path / "fear/b.png")
    with pytest.raises(InputError, match=r"clips and pictures together, fear/a\.avi and fear/b\.png"):
        open_dataset(str(tmp_path))


def test_what_is_left_out_of_a_tree_is_told(tmp_path: Path) -> None:
    root = tree(tmp_path, "fear/1.png", "anger/.hidden.png")
    (root / "fear/notes.txt").write_text("x")
    found = open_dataset(str(root))
    assert [str(problem) for problem in found.problems] == [
        "1 empty folders: anger",
        "1 neither pictures nor clips: fear/notes.txt",
    ]


def test_an_empty_folder_of_a_known_label_stays_in_the_question(tmp_path: Path) -> None:
    root = tree(tmp_path, "Fear/1.png", "sadness/2.png", "angry/.hidden.png", "old stuff/.hidden.png")
    found = open_dataset(str(root))
    assert set(found.labels) == {"anger", "fear", "sadness"} and "no sample of anger" in found.notes
    assert {item.key: found.labels[item.label] for item in found.items} == {
        "Fear/1.png": "fear",
        "sadness/2.png": "sadness",
    }
    left_out = open_dataset(str(root), label_map={"angry": ""})
    assert set(left_out.labels) == {"fear", "sadness"}


def test_unknown_labels_are_counted_in_one_error(tmp_path: Path) -> None:
    root = tree(tmp_path, "fear/1.png", "calm/1.png", "calm/2.png", "bored/1.png")
    with pytest.raises(InputError) as caught:
        open_dataset(str(root))
    text = str(caught.value)
    assert "unknown labels 'calm' (2), 'bored' (1)" in text and "`label_map` bored=LABEL" in text
    assert "`label_map` bored= to leave" in text and text.endswith(", ".join(KNOWN))


def test_a_column_that_is_no_label_does_not_flood_the_error(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "label": f"not a label {number}"} for number in range(60)]
    with pytest.raises(InputError, match=r" and 10 more; say what each is with `label_map` 'not a label 0=LABEL', or"):
        open_dataset(listed(tmp_path, *rows))


def test_items_can_be_sent_to_workers(tmp_path: Path) -> None:
    found = open_dataset(str(tree(tmp_path, "fear/1.png")))
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_label_map_decides_first(tmp_path: Path) -> None:
    root = tree(tmp_path, "fear/1.png", "calm/1.png", "Very_Bored/2.png", "sad/3.png")
    given = {"calm": "calm", "very bored": "", "sad": "neutral", "joy": "happiness"}
    found = open_dataset(str(root), label_map=given)
    assert found.labels == ("neutral", "fear", "calm")
    assert [str(problem) for problem in found.problems] == ["1 left out by the label map: Very_Bored/2.png"]
    assert found.notes == ("label map joy: no sample has this label",)
    with pytest.raises(InputError, match="`label_map` calm=clam: choose from neutral, happiness"):
        open_dataset(str(root), label_map={"calm": "clam"})


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "no folder of a label holds a picture or a clip. Expected:\n  happiness/1.jpg"),
        (lambda root: picture(root / "1.png"), "no folder of a label holds a picture"),
        (lambda root: (root / "fear").mkdir(), "no folder of a label holds a picture"),
    ],
)
def test_an_empty_tree(tmp_path: Path, prepare: object, message: str) -> None:
    prepare(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError) as caught:
        open_dataset(str(tmp_path))
    assert message in str(caught.value)


def listed(root: Path, *rows: dict[str, object]) -> str:
    (root / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return str(root / "list.jsonl")


def test_a_list(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text(
        "image,label,x0,y0,x1,y1\na.png,fear,1,2,5,6\n./a.png,sad,2,2,5,6\ngone.png,fear,,,,\nb.png,,,,,\n"
    )
    found = open_dataset(str(tmp_path / "list.csv"))
    assert [(one.key, one.label, one.frames()[0].box) for one in found.items] == [
        ("a.png#1,2,5,6", 1, (1, 2, 5, 6)),
        ("a.png#2,2,5,6", 0, (2, 2, 5, 6)),
    ]
    assert [str(problem) for problem in found.problems] == ["1 without a label: b.png", "1 missing files: gone.png"]
    assert (found.name, found.source) == ("list.csv", "list list.csv")


def test_a_list_beside_another_folder_and_of_clips(tmp_path: Path) -> None:
    video(tmp_path / "data/a.avi")
    spec = listed(tmp_path, {"image": "a.avi", "label": "fear"})
    assert open_dataset(spec, tmp_path / "data").clips
    with pytest.raises(InputError, match=r"no sample is left\n  1 missing files: a\.avi"):
        open_dataset(spec)
    picture(tmp_path / "data/b.png")
    spec = listed(tmp_path, {"image": "a.avi", "label": "fear"}, {"image": "b.png", "label": "fear"})
    with pytest.raises(InputError, match="lists clips and pictures together"):
        open_dataset(spec, tmp_path / "data")


def test_duplicates_are_kept_once_and_contradictions_not_at_all(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "b.png", "c.png")
    rows = [
        ("b.png", "fear"),
        ("a.png", "sad"),
        ("b.png", "fear"),
        ("./a.png", "sadness"),
        ("c.png", "fear"),
        ("b.png", "anger"),
    ]
    found = open_dataset(listed(tmp_path, *({"image": name, "label": label} for name, label in rows)))
    assert [one.key for one in found.items] == ["a.png", "c.png"]
    assert [str(problem) for problem in found.problems] == [
        "1 listed more than once, kept once: a.png",
        "1 listed with different labels: b.png",
    ]


def test_only_the_first_examples_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows = [{"image": "a.png", "label": "fear"}, *({"image": f"{n}.png", "label": "fear"} for n in range(9))]
    (problem,) = open_dataset(listed(tmp_path, *rows)).problems
    assert str(problem) == "9 missing files: 0.png, 1.png, 2.png, 3.png, 4.png, ..."


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../../a.png", "..\\a.png", "C:\\a.png", "a\0.png", "."])
def test_paths_stay_inside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="stays inside"):
        inside(name)
    with pytest.raises(InputError, match="a path stays inside the data set's folder"):
        open_dataset(listed(tmp_path, {"image": name, "label": "fear"}))


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.png,fear\n")
    with pytest.raises(InputError, match="line 2: a line has image"):
        open_dataset(str(tmp_path / "list.csv"))
    with pytest.raises(InputError, match="no such file"):
        open_dataset(str(tmp_path / "other.csv"))


def test_drawings(tmp_path: Path) -> None:
    found = open_dataset("synthetic:9")
    assert [found.labels[one.label] for one in found.items][:8] == [*found.labels, found.labels[0]]
    (frame,) = found.items[7].frames()
    assert frame.image.shape == (224, 224, 3) and frame.box is not None
    assert np.array_equal(frame.image, open_dataset("synthetic:8").items[7].image)
    assert not np.array_equal(frame.image, found.items[0].image)
    assert found.items[7].key == "synthetic-905-000007"
    assert open_dataset("synthetic:1").notes[0].startswith("no sample of happiness, sadness")


def test_drawn_clips() -> None:
    found = open_dataset("synthetic-clips:2")
    frames = found.items[1].frames(3)
    assert found.clips and len(frames) == 3 and len({frame.box for frame in frames}) == 3
    assert np.array_equal(found.items[1].image, frames[1].image)


@pytest.mark.parametrize(
    ("spec", "root", "message"),
    [
        ("synthetic:0", None, "say how many, 1 to 999999, such as synthetic:200"),
        ("synthetic", None, "say how many"),
        ("synthetic-clips:1e3", None, "such as synthetic-clips:200"),
        ("synthetic:3", "here", "is read from no folder"),
        ("raf", None, "raf: no such data set. Choose from rafdb, "),
        ("", None, "no name: no such data set"),
        ("rafdb:3", None, "rafdb:3: no such data set"),
        ("rafdb", None, "rafdb: name the folder of your copy; no data set comes with this package"),
        ("rafdb", "gone", "gone: no such folder; rafdb is read from"),
    ],
)
def test_names_that_are_none(tmp_path: Path, spec: str, root: str | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        open_dataset(spec, None if root is None else tmp_path / root)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", [name for name in DATASETS if not name.startswith("synthetic")])
def test_another_layout_shows_what_was_expected_and_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    fold = 1 if name in ("dfew", "mafw", "mafw-compound") else None
    with pytest.raises(InputError) as caught:
        open_dataset(name, tmp_path, fold=fold)
    text = str(caught.value)
    assert "Expected:\n  " in text
    assert name == "folder" or text.endswith("Found: photos/, readme.txt")
