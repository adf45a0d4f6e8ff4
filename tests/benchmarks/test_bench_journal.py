"""The folder of a benchmark: nothing read is lost, nothing foreign touched, nothing overwritten silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_edge.benchmarks.bench_journal import Journal
from emo_edge.errors import InputError


def any_row(row: dict[str, Any]) -> bool:
    return True


def test_a_stopped_run_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Journal(folder, {"bundle": "a"}) as journal:
        assert journal.rows("small", any_row) == {}
        journal.add("small", {"key": "1", "scores": [0.1 + 0.2]})
        journal.add("small", {"key": "2", "scores": []})
    path = folder / "samples" / "small.jsonl"
    path.write_text(path.read_text() + '{"key": "3", "sco')
    with Journal(folder, {"bundle": "a"}) as journal:
        found = journal.rows("small", any_row)
        assert found == {"1": {"key": "1", "scores": [0.1 + 0.2]}, "2": {"key": "2", "scores": []}}
        journal.add("small", {"key": "3"})
        assert list(journal.rows("small", any_row)) == ["1", "2", "3"]
        assert list(journal.rows("small", lambda row: "scores" in row)) == ["1", "2"], "what does not fit is dropped"
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("line", ["[]", "7", '{"key": 7}', "{}", "\0\0", "{" * 100_000])
def test_a_broken_line_is_no_row(tmp_path: Path, line: str) -> None:
    with Journal(tmp_path / "out", {}) as journal:
        journal.add("small", {"key": "1"})
        path = tmp_path / "out" / "samples" / "small.jsonl"
        path.write_text(f"{line}\n{path.read_text()}")
        assert list(journal.rows("small", any_row)) == ["1"]


def test_another_runs_samples_stay_unless_they_are_to_go(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Journal(folder, {"bundle": "a", "threads": 1}) as journal:
        journal.add("small", {"key": "1"})
    with pytest.raises(InputError, match=r"other settings \(bundle, threads\); --overwrite"):
        Journal(folder, {"bundle": "b", "threads": 2}).__enter__()
    with Journal(folder, {"bundle": "b"}, overwrite=True) as journal:
        assert journal.rows("small", any_row) == {}


def test_a_finished_report_stays_unless_it_is_to_go(tmp_path: Path) -> None:
    with Journal(tmp_path, {}) as journal:
        journal.finish({"schema": 1})
    with pytest.raises(InputError, match="finished already; --overwrite"):
        Journal(tmp_path, {}).__enter__()
    with Journal(tmp_path, {}, overwrite=True):
        assert not (tmp_path / "report.json").exists()


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="holds other things"):
            Journal(place, {}, overwrite=True).__enter__()
    assert (tmp_path / "photos").is_dir()


def test_a_folder_that_was_just_begun_is_taken(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / ".run.json.part").write_text("{")
    with Journal(tmp_path, {"a": 1}):
        pass
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="holds a run of other settings"):
        Journal(tmp_path, {"a": 1}).__enter__()


def test_two_benchmarks_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, {}), pytest.raises(InputError, match="another benchmark is writing there"):
        Journal(tmp_path, {}).__enter__()
    with Journal(tmp_path, {}):
        pass


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\)"):
        Journal(tmp_path / "file" / "out", {}).__enter__()
