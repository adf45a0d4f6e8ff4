"""Files of results: two runs on one name, and files that other programs write meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.errors import CheckpointError, InputError
from emo_edge.storage import renames
from emo_edge.storage.locks import FileLock, lock_path
from emo_edge.storage.output_files import OutputFile, claimed_file, new_file, written_file
from emo_edge.storage.renames import rename_new

KINDS = ["one step", "links", "two steps"]
RACER = """
import sys
from pathlib import Path
from emo_edge.errors import InputError
from emo_edge.storage.output_files import OutputFile
sys.stdin.readline()
try:
    with OutputFile(Path(sys.argv[1]), overwrite=False) as output:
        output.partial.write_text(sys.argv[2])
        output.finish()
except InputError:
    sys.exit(4)
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system with all renames, one with links alone, and one with neither."""

    def refused(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no links")

    if request.param != "one step":
        monkeypatch.setattr(renames, "_renameat2", lambda: None)
    if request.param == "two steps":
        monkeypatch.setattr(os, "link", refused)
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_that_is_taken_stays_whose_it_is(tmp_path: Path, kind: str) -> None:
    one, other, taken = tmp_path / "one", tmp_path / "other", tmp_path / "taken"
    for path in (one, taken):
        path.write_text(path.name)
    (tmp_path / "link").symlink_to("nowhere")
    for target in (taken, tmp_path / "link"):
        with pytest.raises(FileExistsError):
            rename_new(one, target)
    rename_new(one, other)
    assert (other.read_text(), taken.read_text(), names(tmp_path)) == ("one", "taken", ["link", "other", "taken"])
    with pytest.raises(OSError, match="No such file"):
        rename_new(one, tmp_path / "new")


def test_one_run_at_a_time_has_a_name(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with OutputFile(target, overwrite=False) as output:
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"out\.csv: another run is writing it"):
                OutputFile(target, overwrite=overwrite)
        output.partial.write_text("one")
        output.finish()
    with pytest.raises(InputError, match=r"out\.csv: is there already"):
        OutputFile(target, overwrite=False)
    assert (names(tmp_path), target.read_text()) == (["out.csv"], "one")
    with OutputFile(target, overwrite=True) as output:
        output.partial.write_text("two")
        output.finish()
        output.close()
    assert (names(tmp_path), target.read_text()) == (["out.csv"], "two")


def test_of_runs_that_race_one_writes_and_all_others_say_so(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    commands = [[sys.executable, "-c", RACER, str(target), str(number)] for number in range(6)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE) for command in commands]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    codes = [racer.wait(60) for racer in racers]
    for racer in racers:
        racer.communicate()
    winner = [number for number, code in enumerate(codes) if code == 0]
    assert sorted(codes) == [0, 4, 4, 4, 4, 4]
    assert (target.read_text(), names(tmp_path)) == (str(winner[0]), ["out.csv"])


def test_a_file_that_another_program_writes_meanwhile_stays_and_so_does_the_result(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out.csv"
    (tmp_path / "out-2.csv").write_text("older")
    with OutputFile(target, overwrite=False) as output:
        output.partial.write_text("ours")
        target.write_text("theirs")
        with pytest.raises(InputError, match=r"another program has written it meanwhile; the result is .*out-3\.csv"):
            output.finish()
    contents = [(tmp_path / name).read_text() for name in ("out.csv", "out-2.csv", "out-3.csv")]
    assert (contents, len(names(tmp_path))) == (["theirs", "older", "ours"], 3)


def test_without_an_end_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), OutputFile(tmp_path / "a", overwrite=False) as output:
        output.partial.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []
    with pytest.raises(InputError, match="cannot be written"):
        OutputFile(tmp_path / "none" / "a", overwrite=False)
    with OutputFile(tmp_path / "a", overwrite=True) as output, pytest.raises(InputError, match="cannot be written"):
        output.finish()


def test_a_small_file_replaces_nothing_either(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with pytest.raises(InputError, match="meanwhile"), written_file(target, overwrite=False) as partial:
        partial.write_text("ours")
        target.write_text("theirs")
    with pytest.raises(InputError, match="is there already"), written_file(target, overwrite=False):
        pass
    assert (names(tmp_path), target.read_text()) == (["a"], "theirs")
    with written_file(target, overwrite=True) as partial:
        partial.write_text("ours")
    assert (names(tmp_path), target.read_text()) == (["a"], "ours")


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    with new_file(tmp_path / "a") as partial:
        partial.write_text("text")
    with pytest.raises(CheckpointError, match="already there"), new_file(tmp_path / "a"):
        pass
    with pytest.raises(InputError, match="cannot be written"), new_file(tmp_path / "none" / "a") as partial:
        partial.write_text("text")
    with pytest.raises(CheckpointError, match="meanwhile"), new_file(tmp_path / "b") as partial:
        partial.write_text("ours")
        (tmp_path / "b").write_text("theirs")
    assert (names(tmp_path), (tmp_path / "b").read_text()) == (["a", "b"], "theirs")


def test_a_file_of_an_option_is_claimed_before_the_slow_work(tmp_path: Path) -> None:
    with claimed_file(None, "report") as output:
        assert output is None
    with pytest.raises(InputError, match=r"`report` .* there is no folder"), claimed_file(tmp_path / "no/a", "report"):
        pass
    (tmp_path / "there").touch()
    with pytest.raises(InputError, match="is there already"), claimed_file(tmp_path / "there", "report"):
        pass
    with claimed_file(tmp_path / "a", "report") as output:
        assert output is not None
        with pytest.raises(InputError, match="another run is writing it"), claimed_file(tmp_path / "a", "report"):
            pass
        output.partial.write_text("report")
        output.finish()
    assert names(tmp_path) == ["a", "there"]


def test_the_lock_of_a_name_is_the_one_of_every_command(tmp_path: Path) -> None:
    with FileLock(lock_path(tmp_path / "a")), pytest.raises(InputError, match="another run is writing it"):
        OutputFile(tmp_path / "a", overwrite=True)
