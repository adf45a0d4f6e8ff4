"""Names that are not UTF-8, and what native libraries get instead."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from emo_edge.errors import InputError
from emo_edge.utils.native_paths import is_utf8, native_path, native_text

ODD = os.fsdecode(b"caf\xe9")

pytestmark = pytest.mark.skipif(os.fsencode(ODD) != b"caf\xe9", reason="waits for a file system of bytes")


def test_a_name_in_utf8_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("é/日本.mp4", str(tmp_path / "a.mp4"), "a b.mp4"):
        assert is_utf8(path)
        with native_path(path) as name:
            assert name == path


@pytest.mark.parametrize("parts", [("plain.mp4",), (f"{ODD}.mp4",), (ODD, "plain.mp4"), (ODD, f"{ODD}.mp4")])
def test_reading_and_writing_go_through_the_link(tmp_path: Path, parts: tuple[str, ...]) -> None:
    path = tmp_path.joinpath(*parts)
    path.parent.mkdir(exist_ok=True)
    for way in (path, str(path)):
        with native_path(way) as name:
            assert is_utf8(name) and name.endswith(".mp4")
            Path(name).write_text("written", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "written"
        assert name == str(path) or not Path(name).exists()
        path.unlink()


def test_files_beside_it_are_reached(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "net.onnx.data").write_text("weights", encoding="utf-8")
    with native_path(folder / "net.onnx") as name:
        assert Path(f"{name}.data").read_text(encoding="utf-8") == "weights"
    with native_path(folder) as name:
        assert os.listdir(name) == ["net.onnx.data"]
    assert (folder / "net.onnx.data").exists()


def test_a_relative_name_in_an_odd_folder_is_a_link_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ODD).mkdir()
    monkeypatch.chdir(tmp_path / ODD)
    with native_path("a.png") as name:
        assert is_utf8(name) and Path(name).is_absolute()


def test_nothing_is_left_behind_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError), native_path(tmp_path / ODD):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_an_odd_temporary_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ODD).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ODD))
    with native_path(tmp_path / ODD / "a.png") as name:
        assert is_utf8(name)


def test_no_place_for_a_link_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no link to it can be made in .*none"), native_path(tmp_path / ODD):
        pass


def test_text_that_is_no_path_is_refused() -> None:
    assert native_text("rtsp://é/1") == "rtsp://é/1"
    with pytest.raises(InputError, match="character 11 of this address is not UTF-8"):
        native_text(f"rtsp://{ODD}/1")
