"""Directories that are replaced at once: readers and writers of several processes, and kills at any moment."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.errors import CheckpointError, InputError
from emo_edge.storage import directories, renames
from emo_edge.storage.directories import (
    put_in_place,
    read_whole,
    replaced_directory,
    replaced_path,
    restored,
)
from emo_edge.storage.renames import exchanged

WRITER = """
import sys
from pathlib import Path
from emo_edge.storage import directories
if sys.argv[2] == "two renames":
    directories.exchanged = lambda first, second: False
target, count = Path(sys.argv[1]), int(sys.argv[3])
for number in range(count):
    with directories.replaced_directory(target) as partial:
        for name in ("a", "b"):
            (partial / name).write_text(str(number))
"""
KINDS = ["exchange", "two renames"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writer(target: Path, kind: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(target), kind, str(count)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def pair(folder: Path) -> tuple[str, str]:
    try:
        return (folder / "a").read_text(), (folder / "b").read_text()
    except OSError as error:
        raise InputError(str(error)) from error


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    for content in ("old", "new"):
        with replaced_directory(target) as partial:
            (partial / content).write_text(content)
    with pytest.raises(RuntimeError), replaced_directory(target) as partial:
        (partial / "half").write_text("half")
        raise RuntimeError
    assert (names(tmp_path), names(target)) == (["a"], ["new"])


def test_a_directory_that_another_program_writes_meanwhile_stays(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with pytest.raises(CheckpointError, match="meanwhile"), replaced_directory(target, overwrite=False) as partial:
        (partial / "ours").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert (names(tmp_path), names(target)) == (["a"], ["theirs"])


def test_the_names_of_two_directories_are_exchanged(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchanged(tmp_path / "a", tmp_path / "b"):
        pytest.skip("waits for a file system with an exchange")
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["b"], ["a"])
    with pytest.raises(FileNotFoundError):
        exchanged(tmp_path / "a", tmp_path / "none")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_without_an_exchange_there_are_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(renames, "_renameat2", lambda: lambda *arguments: -1)
    monkeypatch.setattr(renames.ctypes, "get_errno", lambda: number)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    left = put_in_place(tmp_path / "new", tmp_path / "old")
    assert left == replaced_path(tmp_path / "old")
    assert (names(tmp_path / "old"), names(left)) == (["new"], ["old"])


def test_a_replacement_that_was_stopped_between_the_renames_is_undone(tmp_path: Path) -> None:
    target = tmp_path / "a"
    assert not restored(target)
    replaced_path(target).mkdir()
    assert restored(target) and target.is_dir() and not replaced_path(target).exists()
    replaced_path(target).mkdir()
    assert not restored(target), "the new one is there: the old one is no longer needed"


def test_a_writer_that_finishes_between_two_looks_of_a_reader_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, partial = tmp_path / "a", tmp_path / "new"
    replaced_path(target).mkdir()
    partial.mkdir()
    for name in ("a", "b"):
        (partial / name).write_text("new")
    answers: list[tuple[int, int] | None] = []
    identity = directories._identity

    def identity_before_the_writer_finishes(directory: Path) -> tuple[int, int] | None:
        answers.append(identity(directory))
        if len(answers) == 2:
            partial.rename(target)
            replaced_path(target).rmdir()
        return answers[-1]

    monkeypatch.setattr(directories, "_identity", identity_before_the_writer_finishes)
    assert read_whole(target, pair) == ("new", "new")
    assert answers[:2] == [None, None], "the name was missing before the read and after it"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_meets_the_old_or_the_new_one_while_two_processes_write(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a"
    with replaced_directory(target) as partial:
        for name in ("a", "b"):
            (partial / name).write_text("first")
    writers = [writer(target, kind, 400) for _ in range(2)]
    met = set()
    while any(process.poll() is None for process in writers):
        first, second = read_whole(target, pair)
        assert first == second
        met.add(first)
    assert [process.communicate()[1] for process in writers] == ["", ""]
    assert len(met) > 10, "the reader ran while they wrote"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_moment_leaves_a_whole_directory(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a"
    with replaced_directory(target) as partial:
        for name in ("a", "b"):
            (partial / name).write_text("first")
    for moment in range(5):
        with writer(target, kind, 100_000) as process:
            before = read_whole(target, pair)
            while read_whole(target, pair) == before and process.poll() is None:
                pass
            for _ in range(37 * moment):
                first, second = read_whole(target, pair)
                assert first == second
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert len(set(read_whole(restorable(target), pair))) == 1
    with replaced_directory(target) as partial:
        (partial / "a").write_text("last")
    assert names(target) == ["a"]


def restorable(target: Path) -> Path:
    """Bring the old one back if the kill came between two renames, as the next writer does."""
    restored(target)
    return target


def test_an_error_of_a_directory_that_stays_is_raised_at_once(tmp_path: Path) -> None:
    calls = []
    with pytest.raises(InputError):
        read_whole(tmp_path, lambda folder: calls.append(folder) or pair(folder))
    with pytest.raises(InputError):
        read_whole(tmp_path / "none", lambda folder: calls.append(folder) or pair(folder))
    assert calls == [tmp_path, tmp_path / "none"]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    for _ in range(5):
        with replaced_directory(tmp_path / "a") as partial:
            (partial / "a").touch()
        read_whole(tmp_path / "a", names)
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
