"""Files that appear as a whole: renamed at the end, removed on failure, under names that no other writer has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from emo_edge.utils.files import replace_text, replaced_file, substitute, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with replaced_file(target, synced=True) as partial:
        partial.write_text("new")
        assert (partial.parent, target.read_text()) == (tmp_path, "old")
    assert (names(tmp_path), target.read_text()) == (["a.json"], "new")


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), replaced_file(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert (names(tmp_path), target.read_text()) == (["a.json"], "old")


def test_two_writers_of_one_process_id_do_not_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    target = tmp_path / "a.json"
    with replaced_file(target) as one:
        one.write_text("one")
        with replaced_file(target) as other:
            assert one != other
            other.write_text("other")
        assert (one.read_text(), target.read_text()) == ("one", "other")
    assert (names(tmp_path), target.read_text()) == (["a.json"], "one")


def test_modes_are_those_of_other_new_files(tmp_path: Path) -> None:
    replace_text(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_name_keeps_its_suffix_if_that_is_asked_for(tmp_path: Path) -> None:
    with replaced_file(tmp_path / "a.mp4", suffix=".mp4") as partial:
        partial.touch()
        assert partial.suffix == ".mp4"


def test_the_longest_name_that_a_file_may_have_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("\u00e9" * 125)
    replace_text(target, "text")
    assert (names(tmp_path), target.read_text()) == ([target.name], "text")


def test_a_list_of_numbers_is_one_line_of_json(tmp_path: Path) -> None:
    content = {
        "raw": [1.5, -2, None, True],
        "rows": [[1, 2], [3, 4]],
        "names": ["[\n 1,\n 2\n]", "a b"],
        "empty": [],
        "parts": [{"x": [0.25]}],
    }
    write_json(tmp_path / "values.json", content)
    text = (tmp_path / "values.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert ' "raw": [1.5,-2,null,true],\n' in text and "\n  [1,2],\n  [3,4]\n" in text
    assert text.count("\n") == 17


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\n <!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf<HTML>", "an HTML page"),
        (b"<!-- moved --><html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "the error message of a server"),
        (b'{"error":"Repository not found"}', "the error message of a server"),
        (b"Entry not found", "the error message of a server"),
        (b"Repository not found", "the error message of a server"),
        (b"Invalid username or password.", "the error message of a server"),
        (b"Access to model a/b is restricted.", "the error message of a server"),
        (b'{"model_type": "llava"}', None),
        (b"GGUF\x03\0\0\0", None),
        (b"", None),
    ],
)
def test_what_a_download_left_in_place_of_a_file_is_known(content: bytes, kind: str | None, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    found = substitute(tmp_path / "file")
    assert found is None if kind is None else str(found).startswith(f"{kind}, not the file")
