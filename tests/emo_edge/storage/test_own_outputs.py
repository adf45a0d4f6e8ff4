"""Names that a run writes itself: known until they are released, through links as well, and as redirected output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.storage.output_files import OutputFile
from emo_edge.storage.own_outputs import claim_names, own_names, release_names

NAMES = """
import sys
from emo_edge.storage.own_outputs import own_names
sys.stdout.write(repr(sorted(own_names(sys.argv[1]))))
"""


def test_names_are_own_until_they_are_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    monkeypatch.chdir(tmp_path / "folder")
    claim_names([Path("a.jpg"), tmp_path / "link" / "b.jpg", tmp_path / "other.jpg"])
    assert own_names(tmp_path / "folder") == own_names(tmp_path / "link") == own_names(".") == {"a.jpg", "b.jpg"}
    release_names([tmp_path / "folder" / "a.jpg", Path("never claimed")])
    assert own_names(".") == {"b.jpg"}
    release_names([Path("b.jpg"), tmp_path / "other.jpg"])
    assert own_names(".") == own_names(tmp_path) == set()


def test_a_file_of_results_is_own_with_its_partial_file_and_its_lock(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "t.csv", overwrite=False) as output:
        output.partial.touch()
        assert own_names(tmp_path) >= {path.name for path in tmp_path.iterdir()} | {"t.csv"}
        output.finish()
    assert own_names(tmp_path) == set()


def test_a_file_that_the_output_goes_to_is_own(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a user's")
    target = tmp_path / "names.txt"
    with target.open("wb") as stream:
        subprocess.run([sys.executable, "-c", NAMES, str(tmp_path)], stdout=stream, check=True)
    assert target.read_text() == "['names.txt']"


def test_without_standard_streams_nothing_is_own(tmp_path: Path) -> None:
    code = "import os; os.close(1)\n" + NAMES.replace("sys.stdout", "sys.stderr")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
    assert done.stderr == b"[]"
