"""Sealed files: what was written is read under its key alone; anything else in its place is none."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from emo_edge.storage.machine_seal import SECRET
from emo_edge.storage.sealed_files import SUFFIX, SealedFiles

KEY = {"model": "a", "prompt": "b"}


def only_file(directory: Path) -> Path:
    (path,) = directory.glob(f"*{SUFFIX}")
    return path


@pytest.mark.parametrize("content", [b"", b"\n", bytes(range(256)) * 1000])
def test_a_content_is_read_under_its_key_alone(content: bytes, tmp_path: Path) -> None:
    SealedFiles(tmp_path, 1 << 20).write(KEY, content)
    files = SealedFiles(tmp_path, 1 << 20)
    assert files.read(KEY) == content
    assert files.read({**KEY, "prompt": "c"}) is None
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["first byte", "last byte", "cut off", "longer", "empty", "no seal", "other key"])
def test_a_file_that_is_not_as_it_was_written_is_none_and_that_is_said(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = SealedFiles(tmp_path, 1 << 20)
    files.write(KEY, b"keys and values")
    path = only_file(tmp_path)
    old = path.read_bytes()
    if damage == "other key":
        files.write({"model": "other"}, b"keys and values")
        (other,) = set(tmp_path.glob(f"*{SUFFIX}")) - {path}
        shutil.copy(other, path)
    else:
        path.write_bytes(
            {
                "first byte": bytes([old[0] ^ 1]) + old[1:],
                "last byte": old[:-1] + bytes([old[-1] ^ 1]),
                "cut off": old[:-3],
                "longer": old + b" ",
                "empty": b"",
                "no seal": b"keys and values",
            }[damage]
        )
    with caplog.at_level(logging.WARNING):
        assert files.read(KEY) is None
    assert caplog.messages == [f"{path} was changed, cut off or made elsewhere: it is not used, and made again"]
    files.write(KEY, b"again")
    assert files.read(KEY) == b"again"


def test_a_file_of_another_machine_is_none(tmp_path: Path) -> None:
    SealedFiles(tmp_path / "theirs", 1 << 20).write(KEY, b"content")
    SealedFiles(tmp_path / "ours", 1 << 20).write({"model": "other"}, b"content")
    shutil.copy(only_file(tmp_path / "theirs"), tmp_path / "ours")
    assert SealedFiles(tmp_path / "ours", 1 << 20).read(KEY) is None


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "dangling link"])
def test_what_is_no_file_is_never_waited_for_or_followed(kind: str, tmp_path: Path) -> None:
    files = SealedFiles(tmp_path / "cache", 1 << 20)
    files.write(KEY, b"content")
    path = only_file(tmp_path / "cache")
    path.rename(tmp_path / "elsewhere")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    assert files.read(KEY) is None


def test_the_files_unused_for_longest_go(tmp_path: Path) -> None:
    files = SealedFiles(tmp_path, 3000)
    for number in range(3):
        files.write({"number": number}, bytes(800))
        os.utime(tmp_path / files._path({"number": number}).name, (number, number))
    assert files.read({"number": 0}) == bytes(800), "reading makes it the one used last"
    files.write({"number": 3}, bytes(800))
    assert [files.read({"number": number}) is not None for number in range(4)] == [True, False, True, True]
    files.write({"number": 4}, bytes(3001))
    assert files.read({"number": 4}) is None and files.read({"number": 3}) is not None, "larger than all may be"


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = SealedFiles(tmp_path / "file" / "cache", 1 << 20)
    files.write(KEY, b"content")
    assert files.read(KEY) is None


def test_a_secret_that_was_cut_off_makes_every_file_none(tmp_path: Path) -> None:
    files = SealedFiles(tmp_path, 1 << 20)
    files.write(KEY, b"content")
    (tmp_path / SECRET).write_bytes(b"")
    assert files.read(KEY) is None
