"""Lists of inputs: what is one, in which order, and what is left out with which reason."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from emo_edge.batch.items import CHUNK_BYTES, CHUNK_ITEMS, Item, chunks
from emo_edge.batch.listing import IS_SHARD, NAMED, Listing
from emo_edge.batch.shards import tar_items
from emo_edge.errors import InputError
from tests.emo_edge.batch.conftest import DRAWINGS

FACE = DRAWINGS[0].read_bytes()


def names(*sources: object, **options: str) -> list[str]:
    listing = Listing([str(source) for source in sources], **options)  # type: ignore[arg-type]
    listed = [item.name for item in listing]
    assert listing.length() in (None, len(listed))
    return listed


def test_a_folder_is_listed_with_its_folders(pictures: Path) -> None:
    for name in ("notes.txt", ".hidden.jpg", "shard.tar", "clip.mp4"):
        (pictures / name).write_bytes(b"x")
    (pictures / "drawing").write_bytes(FACE)
    (pictures / "gone").symlink_to("nowhere")
    (pictures / "more" / "back").symlink_to(pictures)
    listing = Listing([str(pictures)])
    items = list(listing)
    inside = [os.path.relpath(item.name, pictures) for item in items]
    assert inside == [
        *(f"{n:02d}.jpg" for n in range(8)),
        "clip.mp4",
        "drawing",
        *(f"more/{n:02d}.jpg" for n in range(8, 12)),
    ]
    assert [item.name for item in items if item.video] == [str(pictures / "clip.mp4")]
    assert listing.has_videos() and not Listing([str(pictures / "more")]).has_videos()
    assert {os.path.relpath(name, pictures): reason for name, reason in listing.skipped.first} == {
        ".hidden.jpg": "hidden",
        "gone": "a link to nowhere, which is missing",
        "more/back": "a folder",
        "notes.txt": "not a picture",
        "shard.tar": IS_SHARD,
    }
    assert listing.skipped.count == 5


def test_the_first_skipped_entries_are_kept_and_all_are_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(NAMED + 3):
        (tmp_path / f"{number:02d}.txt").write_text("x", encoding="utf-8")
    with caplog.at_level("INFO"):
        listing = Listing([str(tmp_path)])
        assert listing.length() == 0 and not caplog.records
        assert not list(listing)
    assert (listing.skipped.count, len(listing.skipped.first), len(caplog.records)) == (NAMED + 3, NAMED, NAMED + 3)


def test_backslashes_of_a_list_are_those_of_windows(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{pictures.name}\\00.jpg\n", encoding="utf-8")
    (item,) = Listing([str(tmp_path / "list.txt")])
    assert item.path is not None and Path(item.path).is_file()


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_a_list_of_another_form_says_which_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("image,label\na.jpg,joy\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a list of inputs is a \.txt with a path a line, or a Parquet file"):
        Listing([str(tmp_path / name)])


def test_the_folder_of_the_rows_is_left_out(pictures: Path) -> None:
    assert len(list(Listing([str(pictures)], left_out=pictures / "more"))) == 8


def test_patterns_and_lists(pictures: Path, tmp_path: Path) -> None:
    assert len(names(pictures / "*.jpg")) == 8
    assert len(names(pictures / "**" / "*.jpg")) == 12
    assert len(names(pictures / "m*")) == 4, "a folder that fits is listed"
    entries = [
        b"pictures/00.jpg",
        b"",
        b"# no picture",
        b"none.jpg\r",
        os.fsencode(pictures / "01.jpg"),
        b"caf\xe9.jpg",
    ]
    (tmp_path / "list.txt").write_bytes(b"\n".join(entries))
    inside = [os.path.relpath(name, tmp_path) for name in names(tmp_path / "list.txt")]
    assert inside == ["pictures/00.jpg", "none.jpg", "pictures/01.jpg", "caf\udce9.jpg"]


def test_a_pattern_in_the_name_of_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].jpg").write_bytes(FACE)
    assert names(tmp_path / "a[1].jpg") == [str(tmp_path / "a[1].jpg")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.jpg", "none.jpg: no such file or folder"),
        ("us:secret@host/x", r"^\*\*\*@host/x: no such file or folder"),
        ("none/*.jpg", r"none/\*.jpg: no file fits"),
        ("rtsp://user:secret@host/1", "rtsp://…: a camera or a stream has no end"),
        ("-", "-: is a pipe or a device, and a stopped run reads its inputs again: save it as a file"),
        ("/dev/null", "/dev/null: is a pipe or a device"),
    ],
)
def test_a_source_that_is_not_there_is_an_error_before_anything_is_read(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        Listing([source])
    assert "secret" not in str(raised.value)


def write_tar(path: Path, mode: str = "w") -> None:
    with tarfile.open(path, mode) as shard:
        for name, data in (("0.jpg", FACE), ("0.json", b"{}"), ("a/1.png", b""), ("2.mp4", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz")])
def test_a_shard_gives_its_pictures_with_their_bytes(tmp_path: Path, name: str, mode: str) -> None:
    write_tar(tmp_path / name, mode)
    listing = Listing([str(tmp_path / name)])
    assert [(item.name, item.data) for item in listing] == [
        (f"{tmp_path / name}/0.jpg", FACE),
        (f"{tmp_path / name}/a/1.png", b""),
    ]
    assert listing.length() is None


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 99, None])
def test_a_shard_that_breaks_off_ends_with_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "s.tar.gz"
    write_tar(path, "w:gz")
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    *_, last = Listing([str(path)])
    assert last.name == str(path) and last.error and "what follows is not read" in last.error


def test_parquet_of_paths_of_bytes_and_of_pictures_as_datasets_has_them(tmp_path: Path) -> None:
    tables = {
        "paths": {"path": ["a.jpg", "b.mp4"], "label": ["x", "y"]},
        "bytes": {"image": [FACE, None]},
        "struct": {"image": [{"bytes": FACE, "path": None}, {"bytes": None, "path": "c.jpg"}]},
    }
    for name, columns in tables.items():
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet")
    kinds = [Listing([str(tmp_path / f"{name}.parquet")]).has_videos() for name in tables]
    assert kinds == [True, False, False]
    paths, held, struct = (list(Listing([str(tmp_path / f"{name}.parquet")])) for name in tables)
    assert [(item.path, item.video) for item in paths] == [(f"{tmp_path}/a.jpg", False), (f"{tmp_path}/b.mp4", True)]
    assert held[0].data == FACE and held[0].name == f"{tmp_path}/bytes.parquet#0" and held[1].error
    assert struct[0].data == FACE and struct[1].path == f"{tmp_path}/c.jpg"
    assert (
        names(*(tmp_path / f"{name}.parquet" for name in tables))
        and Listing([str(tmp_path / "paths.parquet")]).length() == 2
    )


@pytest.mark.parametrize("name", ["a:b.parquet", "file:a.parquet", "s3:/a.parquet", "caf\udce9.parquet"])
def test_the_name_of_a_parquet_file_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    with Path(name).open("wb") as file:
        pyarrow.parquet.write_table(pyarrow.table({"path": ["x.jpg"]}), file)
    assert [item.name for item in Listing([name])] == [os.path.join(os.path.dirname(name), "x.jpg")]


def test_a_parquet_file_of_no_clear_column_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / "two.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"left": [FACE], "right": [b""]}), path)
    with pytest.raises(InputError, match="which column holds pictures or paths"):
        list(Listing([str(path)]))
    assert [item.data for item in Listing([str(path)], "left")] == [FACE]
    with pytest.raises(InputError, match="has no column 'middle'; it has left, right"):
        list(Listing([str(path)], "middle"))
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        list(Listing([str(path)]))


def test_chunks_are_bounded_and_a_video_is_one_of_its_own() -> None:
    items = [Item(str(number), video=number == 3) for number in range(12)]
    assert [[item.name for item in chunk] for chunk in chunks(items)] == [["3"], [*"0124567", "8"], [*"9", "10", "11"]]
    large = [Item(str(number), data=bytes(CHUNK_BYTES // 2)) for number in range(4)]
    assert [len(chunk) for chunk in chunks(large)] == [3, 1] and CHUNK_ITEMS == 8


def test_a_table_that_is_damaged_behind_its_end_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "paths.parquet"
    table = pyarrow.table({"path": [f"{number:05d}-{'x' * 40}.jpg" for number in range(2000)]})
    pyarrow.parquet.write_table(table, path, row_group_size=100, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)
    items = list(Listing([str(path)]))
    assert items[0].error is None and items[-1].error is not None and "is damaged behind row" in items[-1].error


def test_a_tar_keeps_no_member(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            shard.add(DRAWINGS[0], name)
    assert [Path(item.name).name for item in Listing([str(tmp_path / "a.tar")])] == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_damaged_header_in_a_tar_is_an_error_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as shard:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            shard.addfile(tarfile.TarInfo(name))
    content = bytearray(path.read_bytes())
    content[512 + 3] ^= 255
    path.write_bytes(content)
    first, last = tar_items(str(path))
    assert first.name.endswith("a.jpg") and last.error and "is damaged or breaks off" in last.error


def test_a_tar_whose_header_claims_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    path, member = tmp_path / "s.tar", tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 3 << 30
    path.write_bytes(member.tobuf() + bytes(1 << 16))
    (item,) = tar_items(str(path))
    assert item.error and "a header of 3,221,225,472 bytes" in item.error
