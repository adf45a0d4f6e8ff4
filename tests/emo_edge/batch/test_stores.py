"""Inputs with an address, through fsspec: the same rows as of local files, and clear errors."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import fsspec
import pyarrow
import pyarrow.parquet
import pytest
from fsspec.registry import known_implementations

from emo_edge.batch import stores
from emo_edge.batch.items import Item
from emo_edge.batch.listing import IS_SHARD, NO_NAME, Listing
from emo_edge.batch.reader import LabelReader
from emo_edge.errors import InputError, MissingExtraError
from tests.emo_edge.batch.conftest import DRAWINGS, InProcess, rows_in, rows_of
from tests.emo_edge.batch.test_run import run

FACE = DRAWINGS[0].read_bytes()


@pytest.fixture
def bucket() -> Iterator[str]:
    """An address in memory, as of a bucket."""
    store = fsspec.filesystem("memory")
    store.pipe({f"/bucket/{name}": DRAWINGS[number].read_bytes() for number, name in enumerate(("b.jpg", "a.jpg"))})
    store.pipe({"/bucket/more/c.jpg": FACE, "/bucket/.hidden.jpg": FACE, "/bucket/notes.txt": b"x"})
    store.pipe("/bucket/shard.tar", b"x")
    yield "memory://bucket"
    store.rm("/bucket", recursive=True)


def shown(address: str) -> list[str]:
    return [item.name.partition("bucket/")[2] for item in Listing([address])]


def test_a_folder_is_listed_by_its_names(bucket: str) -> None:
    listing = Listing([bucket])
    assert [item.name.rpartition("bucket/")[2] for item in listing] == ["a.jpg", "b.jpg", "more/c.jpg"]
    assert listing.length() == 3
    assert {name.rpartition("/")[2]: reason for name, reason in listing.skipped.first} == {
        ".hidden.jpg": "hidden",
        "notes.txt": NO_NAME,
        "shard.tar": IS_SHARD,
    }


def test_a_file_and_a_pattern(bucket: str) -> None:
    assert shown(f"{bucket}/more/c.jpg") == ["more/c.jpg"]
    assert shown(f"{bucket}/*.jpg") == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("name", ["gone.jpg", "gone/*.jpg"])
def test_what_is_not_there_is_an_error_before_anything_is_read(bucket: str, name: str) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        Listing([f"{bucket}/{name}"])


def test_what_no_library_reads_says_what_to_install_or_to_write() -> None:
    with pytest.raises(InputError, match="no store of that name is known"):
        Listing(["nonsense://bucket/a.jpg"])
    with pytest.raises(InputError, match="a chain of addresses"):
        Listing(["zip://a.jpg::memory://bucket/a.zip"])
    with pytest.raises(InputError, match="a camera or a stream has no end"):
        Listing(["rtsp://camera/1"])


def test_the_library_of_a_store_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_implementations, "toy", {"class": "no_toy.Store", "err": "Install no_toy"})
    with pytest.raises(MissingExtraError, match="toy://: Install no_toy"):
        Listing(["toy://bucket"])


def test_the_rows_are_those_of_local_files(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    run(engine, tmp_path / "local", pictures)
    counts = run(engine, tmp_path / "store", f"file://{pictures}")
    assert (counts.read, counts.errors) == (12, 0)
    local, stored = rows_in(tmp_path / "local"), rows_in(tmp_path / "store")
    assert [row["source"] for row in stored] == [f"file://{row['source']}" for row in local]
    assert [{**row, "source": ""} for row in stored] == [{**row, "source": ""} for row in local]
    assert run(engine, tmp_path / "store", f"file://{pictures}").unchanged == 12


def test_shards_lists_and_tables_of_a_store(bucket: str, tmp_path: Path) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as shard:
        member = tarfile.TarInfo("in.jpg")
        member.size = len(FACE)
        shard.addfile(member, io.BytesIO(FACE))
    table = io.BytesIO()
    paths = ["a.jpg", "memory://bucket/more/c.jpg"]
    pyarrow.parquet.write_table(pyarrow.table({"path": paths}), table)
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket/s.tar": held.getvalue(), "/bucket/t.parquet": table.getvalue()})
    store.pipe("/bucket/l.txt", b"# names\nb.jpg\nmemory://bucket/more/c.jpg\n")
    (item,) = Listing([f"{bucket}/s.tar"])
    assert (item.name, item.data) == (f"{bucket}/s.tar/in.jpg", FACE)
    assert [one.path for one in Listing([f"{bucket}/t.parquet"])] == [f"{bucket}/a.jpg", paths[1]]
    assert [one.path for one in Listing([f"{bucket}/l.txt"])] == [f"{bucket}/b.jpg", paths[1]]
    local = tmp_path / "list.txt"
    local.write_text(f"{bucket}/a.jpg\n", encoding="utf-8")
    assert [one.path for one in Listing([str(local)])] == [f"{bucket}/a.jpg"]


def test_a_video_is_copied_for_its_reading_alone(reader: LabelReader, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    face = cv2.imread(str(DRAWINGS[0]))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, face.shape[1::-1])
    for _ in range(10):
        writer.write(face)
    writer.release()
    (tmp_path / "no.mp4").write_bytes(b"no video" * 99)
    address = f"file://{path}"
    local = rows_of(reader.read([Item(str(path), str(path), video=True)]))
    read = reader.read([Item(address, address, video=True)])
    stored = rows_of(read)
    assert len(stored) == len(local) > 0
    for mine, its in zip(stored, local, strict=True):
        assert mine["source"] == address
        assert (mine["sha256"], mine["label"]) == (its["sha256"], its["label"])
    assert reader._copies is not None and not list(Path(reader._copies.name).iterdir())
    bad = reader.read([Item("file:///gone.mp4", "file:///gone.mp4", video=True)])
    assert bad.outcomes[0].error == "file:///gone.mp4: no such file or folder"
    (broken,) = reader.read([Item(f"file://{tmp_path}/no.mp4", f"file://{tmp_path}/no.mp4", video=True)]).outcomes
    assert broken.error is not None
    assert "emo-edge-" not in broken.error
    assert not list(Path(reader._copies.name).iterdir())


def test_a_picture_that_cannot_be_read_is_a_row(
    reader: LabelReader, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = f"{bucket}/gone.jpg"
    (outcome,) = reader.read([Item(gone, gone)]).outcomes
    assert (outcome.error_kind, outcome.error) == ("input", f"{gone}: no such file or folder")
    with pytest.raises(InputError, match="more than 5 bytes"):
        stores.content(f"{bucket}/a.jpg", 5)

    class OddError(Exception):
        """Of no class that Python knows, as the libraries of stores have them."""

    def refuse(*_: object, **__: object) -> None:
        raise OddError("no key\nfor you")

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "open", refuse)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read \(OddError: no key for you\)"):
        stores.content(f"{bucket}/a.jpg", 5)
