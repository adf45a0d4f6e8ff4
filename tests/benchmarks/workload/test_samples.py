"""Which samples are read: unreadable ones are listed, faces found once, short classes told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.datasets.registry import open_dataset
from emo_edge.benchmarks.workload.images import latency_clip, open_latency_images
from emo_edge.benchmarks.workload.journal import Journal
from emo_edge.benchmarks.workload.sample_table import Prepared, PreparedRows
from emo_edge.benchmarks.workload.samples import BenchSamples, drawn_items, prepared_samples
from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace
from emo_edge.media.crops import Image
from emo_edge.media.images import write_image
from tests.made_videos import write

LABELS = ("anger", "happiness", "sadness")


class Corner:
    """Finds a face in pictures whose first pixel is lit."""

    name = "corner"

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, frame: Image) -> list[DetectedFace]:
        self.asked += 1
        return [DetectedFace((1.0, 2.0, 9.0, 8.0), None)] if frame[0, 0, 0] else []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures and a list: one without a face, one broken, one listed twice, one the copy of another."""
    for name, lit in (("a", 255), ("b", 0), ("copy", 255)):
        image = np.full((10, 12, 3), 40, np.uint8)
        image[0, 0] = lit
        write_image(tmp_path / f"{name}.png", image)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    rows = ["a.png,happy,,,,", "a.png,happy,,,,", "b.png,sad,,,,", "broken.png,sad,,,,", "copy.png,happy,,,,"]
    rows += ["a.png,happy,,,,", "gone.png,sad,,,,"]
    path = tmp_path / "list.csv"
    path.write_text("image,label,x0,y0,x1,y1\n" + "\n".join(rows) + "\n")
    return path


def looked(
    source: Path | str, tmp_path: Path, detector: Corner | None = None, count: int | None = None
) -> BenchSamples:
    dataset = open_dataset(str(source))
    with Journal(tmp_path / "out", {"bundle": "a"}) as journal:
        return prepared_samples(dataset, dataset.labels, count, 4, journal, detector or Corner())


def test_every_sample_is_read_or_listed(pictures: Path, tmp_path: Path) -> None:
    found = looked(pictures, tmp_path)
    assert [(sample.item.key, sample.boxes) for sample in found.samples] == [
        ("a.png", ((1.0, 2.0, 9.0, 8.0),)),
        ("b.png", (None,)),
        ("copy.png", ((1.0, 2.0, 9.0, 8.0),)),
    ]
    assert [key for key, _ in found.skipped] == ["broken.png"] and "PNG" in found.skipped[0][1]
    assert "in 1 of 4 samples no face was found: read as a whole" in found.notes
    assert "1 samples show the same pixels as another one" in found.notes
    told = [str(problem) for problem in found.dataset.problems]
    assert any("listed more than once" in line for line in told) and any("missing files" in line for line in told)


def test_faces_are_looked_for_once(pictures: Path, tmp_path: Path) -> None:
    first, again = Corner(), Corner()
    assert looked(pictures, tmp_path, first) == looked(pictures, tmp_path, again)
    assert (first.asked, again.asked) == (3, 0)


def test_a_picture_that_changed_under_its_name_is_looked_at_again(pictures: Path, tmp_path: Path) -> None:
    before = looked(pictures, tmp_path)
    write_image(tmp_path / "a.png", np.zeros((10, 12, 3), np.uint8), overwrite=True)
    for asked in (1, 0):
        detector = Corner()
        after = looked(pictures, tmp_path, detector)
        assert detector.asked == asked, "and what was found then is known the next time"
        assert after.samples[0].boxes == (None,) and after.samples[1:] == before.samples[1:]
        assert after.samples[0].sha256 != before.samples[0].sha256


def test_a_row_of_the_journal_comes_out_as_it_went_in() -> None:
    items = open_dataset("synthetic:3").items
    rows = PreparedRows(items, frames=2)
    clip = {"key": items[0].key, "boxes": [[1.5, 2, 3, 4], None], "found": True, "sha256": "0a" * 32, "reason": None}
    broken = {"key": items[2].key, "boxes": [], "found": True, "sha256": None, "reason": "torn"}
    rows.put(0, clip)
    rows.put(2, broken)
    assert [rows.row(number) for number in range(3)] == [clip, None, broken]
    (sample,) = Prepared(rows, [6, 5, 4, 3, 2, 1, 0])
    assert (sample.item, sample.boxes, sample.sha256) == (items[0], ((1.5, 2.0, 3.0, 4.0), None), "0a" * 32)
    rows.put(0, broken | {"key": items[0].key})
    assert len(Prepared(rows, range(7))) == 0, "what can no longer be read is no sample"


def test_a_class_without_a_sample_is_told(tmp_path: Path) -> None:
    found = looked("synthetic:3", tmp_path)
    assert len(found.samples) == 3 and all(sample.boxes[0] is not None for sample in found.samples)
    assert "no sample of surprise, fear, disgust, anger: means over classes leave them out" in found.notes


def test_a_box_outside_its_picture_is_listed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((10, 12, 3), 255, np.uint8))
    write_image(tmp_path / "b.png", np.full((10, 12, 3), 250, np.uint8))
    (tmp_path / "list.csv").write_text("image,label,x0,y0,x1,y1\na.png,happy,50,50,60,60\nb.png,sad,0,0,90,90\n")
    found = looked(tmp_path / "list.csv", tmp_path)
    assert [(sample.item.location, sample.boxes) for sample in found.samples] == [("b.png", ((0.0, 0.0, 90.0, 90.0),))]
    assert "lies outside the 12x10 frame" in found.skipped[0][1]


def test_no_sample_that_opens_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "list.csv").write_text("image,label\na.png,happy\n")
    with pytest.raises(InputError, match=r"no sample can be read; the first: a\.png"):
        looked(tmp_path / "list.csv", tmp_path)


def test_fewer_samples_are_drawn_the_same_way_every_time() -> None:
    dataset = open_dataset("synthetic:40")
    (items, notes), (again, _) = drawn_items(dataset, 9), drawn_items(dataset, 9)
    keys = [item.key for item in items]
    assert keys == sorted(keys) == [item.key for item in again] and len(set(keys)) == 9
    assert notes == ["9 of 40 samples, drawn at random with seed 0"]
    assert drawn_items(dataset, 40)[1] == []


def test_clips_have_a_box_a_frame(tmp_path: Path) -> None:
    found = looked("synthetic-clips:2", tmp_path)
    assert [len(sample.boxes) for sample in found.samples] == [4, 4]
    assert len(found.samples[0].frames()) == 4


class TwoPeople(Corner):
    """Finds two faces, of which now the one and now the other is the larger."""

    def detect(self, frame: Image) -> list[DetectedFace]:
        self.asked += 1
        grown = 4.0 * (self.asked % 2)
        faces = [(0.0, 0.0, 20.0 + grown, 20.0 + grown), (100.0, 0.0, 124.0 - grown, 24.0 - grown)]
        return [DetectedFace(box, None) for box in sorted(faces, key=lambda box: -box[3])]


def test_a_clip_is_of_one_person(tmp_path: Path) -> None:
    for name in ("anger", "happiness"):
        (tmp_path / "set" / name).mkdir(parents=True)
        write(tmp_path / "set" / name / "a.mp4", [0, 0.1, 0.2, 0.3])
    sample = looked(tmp_path / "set", tmp_path, TwoPeople()).samples[0]
    assert [box and box[0] for box in sample.boxes] == [0, 0, 0, 0]


def test_pictures_of_the_timings(pictures: Path, tmp_path: Path) -> None:
    images, kind = open_latency_images(looked(pictures, tmp_path), tmp_path)
    assert kind == "own files" and [shot.path.name for shot in images] == ["a.png", "b.png", "copy.png"]
    single = looked("synthetic:1", tmp_path)
    images, kind = open_latency_images(single, tmp_path)
    assert kind == "written as PNG" and len(images) == 2, "never one alone, which an engine may know again"
    straight, mirrored = (shot.frame() for shot in images)
    assert np.array_equal(straight.image[:, ::-1], mirrored.image)
    assert straight.box and mirrored.box and mirrored.box[2] == pytest.approx(224 - straight.box[0])
    frames, note = latency_clip(single, images, 5)
    assert len(frames) == 5 and note and "one after the other" in note
