"""Sample lists in every form, and what is wrong with the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emo_edge.assets.packaged import Sample
from emo_edge.calibration.samples.draw import draw_samples
from emo_edge.calibration.samples.lists import listed_samples
from emo_edge.errors import InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.media.images import write_image


def picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((8, 10, 3), value, np.uint8))
    return path


def test_a_folder_of_pictures_has_no_labels(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", ".hidden.png"):
        picture(tmp_path / name)
    assert [(one.name, one.box, one.expression) for one in listed_samples(tmp_path)] == [
        ("a.png", None, None),
        ("b.png", None, None),
    ]


def test_subfolders_are_labels(tmp_path: Path) -> None:
    for name in ("anger/1.png", "happiness/1.png", "happiness/2.png"):
        picture(tmp_path / name)
    found = [(one.name, one.expression) for one in listed_samples(tmp_path)]
    assert found == [("anger/1.png", "anger"), ("happiness/1.png", "happiness"), ("happiness/2.png", "happiness")]


def test_csv_and_jsonl_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "image,label,x0,y0,x1,y1\na.png,anger,1,2,8,7.5\nb.png,,,,,\n", encoding="utf-8-sig"
    )
    rows = [{"image": "a.png", "label": "anger", "x0": 1, "y0": 2, "x1": 8, "y1": 7.5}, {"image": "b.png"}]
    (tmp_path / "l.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    expected = [
        Sample("a.png", tmp_path / "a.png", (1, 2, 8, 7.5), "anger"),
        Sample("b.png", tmp_path / "b.png", None, None),
    ]
    assert listed_samples(tmp_path / "l.csv") == listed_samples(tmp_path / "l.jsonl") == expected


@pytest.mark.parametrize(
    "text",
    [
        "image,label\nimg\\a.png,anger\nimg\\b.png,\n",
        "\ufeffimage,label\r\nimg/a.png,anger\r\nimg/b.png,\r\n",
        "Label, Image\n anger , img/a.png \n, img\\b.png\n\n",
        '"image","label"\n"img\\a.png","anger"\n"img/b.png",""\n',
        "img\\a.png,anger\nimg/b.png,\n",
        "img/a.png , anger,,,,\n\nimg\\b.png\n",
    ],
)
def test_lists_of_every_program_are_one_list(tmp_path: Path, text: str) -> None:
    from emo_edge.benchmarks.datasets.registry import open_dataset

    for name in ("a.png", "b.png"):
        picture(tmp_path / "img" / name)
    (tmp_path / "l.csv").write_bytes(text.encode())
    listed = listed_samples(tmp_path / "l.csv")
    assert [(one.name, one.expression) for one in listed] == [("img/a.png", "anger"), ("img/b.png", None)]
    assert all(isinstance(one.source, Path) and one.source.is_file() for one in listed)
    dataset = open_dataset(str(tmp_path / "l.csv"))
    assert [item.key for item in dataset.items] == ["img/a.png"] and dataset.labels == ("anger",)


def test_a_backslash_in_a_name_that_exists_stays(tmp_path: Path) -> None:
    picture(tmp_path / "a\\b.png")
    (tmp_path / "l.jsonl").write_text(json.dumps({"image": "a\\b.png", "label": "a\u2028b"}, ensure_ascii=False))
    (one,) = listed_samples(tmp_path / "l.jsonl")
    assert one.source == tmp_path / "a\\b.png" and one.expression == "a\u2028b"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "", "lists no picture"),
        ("l.csv", "image,label\n", "lists no picture"),
        ("l.csv", "path,label\na.png,anger\n", r"l.csv, line 2: a line has image \(a path beside the list\)"),
        ("l.csv", "image,x0,y0,x1,y1\na.png,1,2,3,\n", "line 2: x0, y0, x1, y1 are four numbers"),
        ("l.csv", "image,x0,y0,x1,y1\na.png,9,2,3,4\n", "line 2: a face box has x1 > x0"),
        ("l.csv", "image,x0,y0,x1,y1\na.png,0,0,nan,4\n", "line 2: a face box has x1 > x0"),
        ("l.jsonl", '{"image": "a.png"}\n{"image"', "not readable as .jsonl"),
        ("l.jsonl", '["a.png"]\n', "line 1: a line has image"),
        ("l.jsonl", '{"image": 3}\n', "line 1: a line has image"),
        ("l.txt", "a.png", "takes a folder, a .csv or a .jsonl, not .txt"),
    ],
)
def test_broken_lists_are_told_by_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        listed_samples(tmp_path / name)


def test_places_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        listed_samples(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no picture"):
        listed_samples(tmp_path)
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00bad\x80")
    with pytest.raises(InputError, match=r"not readable as \.csv"):
        listed_samples(tmp_path / "list.csv")


def samples(count: int, labels: tuple[str, ...] = ("anger", "fear")) -> list[Sample]:
    pixels = [np.full((8, 8, 3), number, np.uint8) for number in range(count)]
    return [Sample(str(n), image, (0, 0, 8, 8), labels[n % len(labels)]) for n, image in enumerate(pixels)]


class NoFace:
    name = "none"

    def detect(self, frame: object) -> list[object]:
        return []


def test_labels_come_in_turn_and_the_seed_decides() -> None:
    listed = [*samples(40), *samples(4, ("sadness",))]
    found = draw_samples(listed, 24, 0, WholeImage())
    labels = [one.expression for one in found.samples]
    assert labels[:12] == ["anger", "fear", "sadness"] * 4
    assert labels[12:] == ["anger", "fear"] * 6, "no more of the third"
    again, other = draw_samples(listed, 24, 0, WholeImage()), draw_samples(listed, 24, 1, WholeImage())
    assert again == found
    assert other.digest != found.digest and other.samples != found.samples


def test_the_digest_tells_pixels_boxes_and_labels() -> None:
    def digest(pixels: int = 7, box: float = 8, label: str = "anger") -> str:
        one = Sample("x", np.full((8, 8, 3), pixels, np.uint8), (0, 0, box, 8), label)
        return draw_samples([one], 1, 0, WholeImage()).digest

    assert len({digest(), digest(pixels=8), digest(box=7), digest(label="fear")}) == 4
    assert digest() == digest()


def test_no_picture_is_collected_on_and_measured_on() -> None:
    first, others = draw_samples(samples(40), 30, 0, WholeImage()).split(10)
    assert len(first) == 10 and len(others) == 20
    assert not {one.name for one in first} & {one.name for one in others}


def test_unreadable_pictures_and_those_without_a_face_are_skipped_and_listed(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    broken = Sample("broken.png", tmp_path / "broken.png", None, None)
    absent = Sample("absent.png", tmp_path / "absent.png", None, None)
    faceless = Sample("faceless.png", picture(tmp_path / "faceless.png"), None, None)
    boxed = [Sample(one.name, one.source, one.box, None) for one in samples(20)]
    found = draw_samples([broken, absent, faceless, *boxed], 23, 0, NoFace())  # type: ignore[arg-type]
    assert len(found.samples) == 20
    assert len(found.skipped) == 3
    assert "faceless.png: no face found" in found.skipped
    assert all(any(name in reason for reason in found.skipped) for name in ("broken.png", "absent.png"))


def test_too_few_are_an_error_that_says_why() -> None:
    faceless = [Sample(one.name, one.source, None, None) for one in samples(30)]
    with pytest.raises(InputError, match=r"0 usable samples of 30, at least 16 are needed\n  .*: no face found"):
        draw_samples(faceless, 30, 0, NoFace())  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_listed_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(InputError, match=r": cannot be listed: Permission denied"):
        listed_samples(tmp_path)
