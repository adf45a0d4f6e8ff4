"""Inputs to rows in one process: every fault is a row, and equal content is left alone."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from emo_edge import EmotionPipeline
from emo_edge.batch import reader as reader_module
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item
from emo_edge.batch.reader import LabelReader, lost_chunk
from emo_edge.errors import DeviceError, DeviceMemoryError, InputError
from emo_edge.inference.results import ClipSampling, Request
from emo_edge.utils.files import sha256_of
from tests.emo_edge.batch.conftest import DRAWINGS, rows_of
from tests.made_videos import write


def file_item(path: Path, **values: object) -> Item:
    return replace(Item(str(path), str(path)), **values)  # type: ignore[arg-type]


def huge_png() -> bytes:
    """Return the head of a picture of 500 million pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 25_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def test_rows_are_those_of_the_pipeline(reader: LabelReader, label_bundle: Path) -> None:
    read = reader.read([file_item(path) for path in DRAWINGS[:3]])
    with EmotionPipeline.open(label_bundle, device="cpu", detector=reader._pipeline.detector) as pipeline:
        expected = [pipeline.read(path)[0] for path in DRAWINGS[:3]]
    for row, result, path in zip(rows_of(read), expected, DRAWINGS[:3], strict=True):
        assert (row["label"], row["sha256"]) == (result.label, sha256_of(path))
        assert row["p_anger"] == pytest.approx(result.probabilities["anger"], abs=1e-5)
    assert [(one.rows, one.faces, one.error_kind) for one in read.outcomes] == [(1, 1, None)] * 3


def test_every_fault_of_a_file_is_a_row(reader: LabelReader, tmp_path: Path) -> None:
    contents = {"empty.jpg": b"", "text.jpg": b"no picture", "cut.jpg": DRAWINGS[0].read_bytes()[:900]}
    contents |= {"huge.png": huge_png(), "good.jpg": DRAWINGS[0].read_bytes()}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "caf\udce9.jpg").write_bytes(b"")
    items = [file_item(tmp_path / name) for name in (*contents, "vanished.jpg", "caf\udce9.jpg")]
    items.append(Item("s.tar", error="s.tar: breaks off"))
    rows = rows_of(reader.read([*items, file_item(tmp_path)]))
    assert [row["error_kind"] for row in rows] == [*["input"] * 4, None, *["input"] * 4]
    assert rows[4]["label"] and "no such file" in rows[5]["error"] and rows[7]["error"] == "s.tar: breaks off"
    assert rows[0]["sha256"] and rows[5]["sha256"] is None and rows[6]["source"].endswith(r"caf\xe9.jpg'")


def test_equal_content_is_not_read_again(reader: LabelReader, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    shutil.copy(DRAWINGS[0], path)
    digest = sha256_of(path)
    same, changed, again = (file_item(path, labelled=True, known=known) for known in (digest, "0" * 64, ""))
    gone = file_item(tmp_path / "none.jpg", labelled=True, known=None)
    read = reader.read([same, changed, again, gone])
    assert [(one.rows, one.replaces) for one in read.outcomes] == [(0, False), (1, True), (1, True), (0, False)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write(path, [number / 30 for number in range(24)])
    return path


def test_a_video_gives_a_row_a_clip(config: LabelConfig, clip: Path) -> None:
    with LabelReader(replace(config, sampling=ClipSampling(frames=4, fps=8.0))) as opened:
        item = file_item(clip, video=True)
        read = opened.read([item])
        rows = rows_of(read)
        assert len(rows) > 1 and {row["sha256"] for row in rows} == {sha256_of(clip)} and rows[1]["start_s"] > 0
        assert read.outcomes[0].rows == len(rows)
        known = replace(item, labelled=True, known=sha256_of(clip))
        assert opened.read([known]).outcomes[0].rows == 0


def test_a_video_that_changes_meanwhile_is_an_error(
    reader: LabelReader, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "grows.mp4", reader_module.read_sources
    shutil.copy(clip, path)

    def growing(*arguments: object) -> object:
        with path.open("ab") as file:
            file.write(b"more")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader_module, "read_sources", growing)
    (row,) = rows_of(reader.read([file_item(path, video=True)]))
    assert row["error_kind"] == "input" and "changed while it was read" in row["error"]
    assert row["sha256"] is None, "no content that a rerun could take for read"


def test_a_video_that_is_touched_meanwhile_keeps_its_rows(
    reader: LabelReader, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "touched.mp4", reader_module.read_sources
    shutil.copy(clip, path)

    def touching(*arguments: object) -> object:
        os.utime(path, ns=(1, 1))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader_module, "read_sources", touching)
    rows = rows_of(reader.read([file_item(path, video=True)]))
    assert {(row["error"], row["sha256"]) for row in rows} == {(None, sha256_of(clip))}


def test_pictures_are_batched_by_their_pixels(reader: LabelReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_pixels", 224 * 224 * 2)
    sizes, real = list[int](), reader._pipeline.read_many

    def counted(images: list[object], *arguments: object, **options: object) -> object:
        sizes.append(len(images))
        return real(images, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(reader._pipeline, "read_many", counted)
    rows = rows_of(reader.read([file_item(path) for path in DRAWINGS[:5]]))
    assert sizes == [2, 2, 1] and all(row["label"] for row in rows)


def test_one_picture_of_a_batch_has_its_error_alone(reader: LabelReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_pixels", 1 << 40)
    errors, real = (
        iter([InputError("x"), None, DeviceMemoryError("no memory"), ZeroDivisionError("odd")]),
        reader._pipeline.read_many,
    )

    def failing(images: list[object], *arguments: object, **options: object) -> object:
        error = next(errors)
        if error:
            raise error
        return real(images, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(reader._pipeline, "read_many", failing)
    rows = rows_of(reader.read([file_item(path) for path in DRAWINGS[:3]]))
    assert [row["error_kind"] for row in rows] == [None, "device", "failed"]
    assert "cannot be read (ZeroDivisionError: odd)" in rows[2]["error"]


def test_a_lost_device_ends_the_reading(reader: LabelReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: object, **options: object) -> object:
        raise DeviceError("gone")

    monkeypatch.setattr(reader._pipeline, "read_many", lost)
    with pytest.raises(DeviceError, match="gone"):
        reader.read([file_item(DRAWINGS[0])])


def test_an_impossible_request_is_refused_at_the_start(config: LabelConfig) -> None:
    with pytest.raises(InputError, match="temperature"):
        LabelReader(replace(config, request=Request(temperature=0.0)))


def test_an_input_that_ends_workers_is_a_row(reader: LabelReader) -> None:
    read = lost_chunk(reader.setup, Item("a.jpg", "a.jpg"), "ended by SIGKILL")
    (row,) = rows_of(read)
    assert (row["error_kind"], read.outcomes[0].error_kind) == ("worker", "worker")
    assert "ended twice (ended by SIGKILL)" in row["error"]
