"""Output paths that cannot be written are refused at once, with the reason and the next step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emo_edge.errors import InputError
from emo_edge.storage import output_paths
from emo_edge.storage.output_paths import LONGEST_NAME, require_output


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no name"),
        ("..", "no name"),
        ("a/..", "no name"),
        ("a" * 300, "a name of 300 bytes; give one of at most 220"),
        ("\u00e9" * 111, "a name of 222 bytes"),
        (f"{'b' * 300}/a", "File name too long"),
        (os.fsdecode(b"caf\xfe"), r"caf\\xfe: the name is not UTF-8"),
        (os.fsdecode(b"caf\xfe/a"), "the name is not UTF-8"),
        ("file/a", "Not a directory"),
        ("null\0", "no name"),
    ],
)
def test_a_name_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=reason):
        require_output(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["a", "a/", "a/b/c", "a" * LONGEST_NAME, "caf\u00e9", "file", "./a"])
def test_a_name_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    require_output(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("waits for a user who is not root")
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\); choose another place"):
        require_output(tmp_path / "a")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="waits for Linux")
def test_a_file_system_that_takes_no_files() -> None:
    with pytest.raises(InputError, match="cannot be written"):
        require_output(Path("/proc/emo-edge"))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of no bytes fits on a full disk; the probe has some."""
    if not Path("/dev/full").exists():
        pytest.skip("waits for a system with /dev/full")
    real = output_paths._write_and_remove
    monkeypatch.setattr(
        output_paths, "_write_and_remove", lambda probe: (probe.symlink_to("/dev/full"), real(probe))[1]
    )
    with pytest.raises(InputError, match="cannot be written"):
        require_output(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_is_not_replaced() -> None:
    with pytest.raises(InputError, match="name a folder in it"):
        require_output(Path("/proc"))
