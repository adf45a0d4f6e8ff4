"""Recordings of a server: lines and pictures that their owner alone can read, and a disk that fails."""

from __future__ import annotations

import json
import os
import resource
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.serving.engine import recorder as module
from emo_edge.serving.engine.recorder import EVENTS, PICTURES, READINGS, Recorder

JPEG = b"\xff\xd8\xff\xe0 a picture"
RESULT = {"readings": []}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_readings_alone_store_no_picture(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    recorder = Recorder(folder, pictures=False)
    recorder.reading("/v1/readings", RESULT, [JPEG])
    recorder.event("live-1", {"kind": "frame"}, np.zeros((4, 4, 3), np.uint8))
    recorder.close()
    (line,) = lines(folder / READINGS)
    assert (line["route"], line["result"], line["record_version"]) == ("/v1/readings", RESULT, 1)
    assert line["time"].endswith("+00:00") and "pictures" not in line
    assert lines(folder / EVENTS)[0]["connection"] == "live-1"
    assert sorted(os.listdir(folder)) == [EVENTS, READINGS]


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_its_owner_alone_can_read_it(tmp_path: Path, umask: int) -> None:
    folder, before = tmp_path / "kept", os.umask(umask)
    try:
        recorder = Recorder(folder, pictures=True)
        recorder.reading("/v1/readings", RESULT, [JPEG, JPEG])
        recorder.event("door", {"kind": "frame"}, np.zeros((4, 4, 3), np.uint8))
        recorder.close()
    finally:
        os.umask(before)
    assert [mode(path) for path in (folder, folder / PICTURES)] == [0o700, 0o700]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {mode(path) for path in files} == {0o600} and len(files) == 4
    (line,) = lines(folder / READINGS)
    assert line["pictures"][0] == line["pictures"][1], "the same picture is stored once"
    assert (folder / line["pictures"][0]).read_bytes() == JPEG
    assert (folder / lines(folder / EVENTS)[0]["pictures"][0]).suffix == ".jpg"


def test_a_second_run_adds_to_the_first(tmp_path: Path) -> None:
    for _ in range(2):
        recorder = Recorder(tmp_path / "kept", pictures=False)
        recorder.reading("/v1/readings", RESULT, [])
        recorder.close()
    assert len(lines(tmp_path / "kept" / READINGS)) == 2


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept", pictures=False)
    with pytest.raises(InputError, match="another server records there"):
        Recorder(tmp_path / "kept", pictures=False)
    recorder.close()


def test_a_folder_that_others_can_open_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    with pytest.raises(InputError, match="others can open this folder; run chmod 700"):
        Recorder(folder, pictures=False)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for name in ("file", "link"):
        with pytest.raises(InputError, match=f"--record .*{name}: "):
            Recorder(tmp_path / name, pictures=False)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    folder, target = tmp_path / "kept", tmp_path / "other"
    folder.mkdir(mode=0o700)
    target.touch()
    (folder / READINGS).symlink_to(target)
    with pytest.raises(InputError, match="cannot be written"):
        Recorder(folder, pictures=False)


def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[int] = []
    recorder = Recorder(tmp_path / "kept", pictures=False, lost=lambda: lost.append(1))
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    for _ in range(3):
        recorder.reading("/v1/readings", RESULT, [])
    recorder.close()
    assert len(lost) == 3 and (tmp_path / "kept" / READINGS).read_bytes() == b"", "no half of a line stays"
    assert caplog.text.count("was not recorded (No space left on device)") == 1


def test_of_a_picture_that_the_disk_does_not_take_nothing_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[int] = []
    recorder = Recorder(tmp_path / "kept", pictures=True, lost=lambda: lost.append(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        recorder.reading("/v1/readings", RESULT, [JPEG + bytes(1 << 17)])
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert lost == [1] and "was not recorded (File too large)" in caplog.text
    assert not list((tmp_path / "kept" / PICTURES).iterdir())


def test_what_a_killed_server_was_writing_is_removed(tmp_path: Path) -> None:
    Recorder(tmp_path / "kept", pictures=True).close()
    pictures = tmp_path / "kept" / PICTURES
    (pictures / ".abc.jpg.0123456789abcdef.partial").write_bytes(JPEG)
    (pictures / "abc.jpg").write_bytes(JPEG)
    Recorder(tmp_path / "kept", pictures=True).close()
    assert [path.name for path in pictures.iterdir()] == ["abc.jpg"]


def test_what_the_disk_cannot_take_in_time_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 10)
    lost: list[int] = []
    recorder = Recorder(tmp_path / "kept", pictures=True, lost=lambda: lost.append(1))
    recorder.reading("/v1/readings", RESULT, [JPEG])
    recorder.close()
    assert len(lost) == 1 and not (tmp_path / "kept" / READINGS).read_bytes()
