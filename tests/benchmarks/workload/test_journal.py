"""The folder of a benchmark: nothing read is lost, nothing foreign touched, nothing overwritten silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from emo_edge.benchmarks.workload.journal import FACES, Journal
from emo_edge.errors import InputError

OWN = {"bundle": "a"}


def any_row(row: dict[str, Any]) -> bool:
    return True


def by_key(journal: Journal, fits: Callable[[dict[str, Any]], bool] = any_row) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in journal.rows("small", fits)}


def test_a_stopped_run_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Journal(folder, {"bundle": "a"}) as journal:
        assert by_key(journal) == {}
        journal.add("small", {"key": "1", "scores": [0.1 + 0.2]})
        journal.add("small", {"key": "2", "scores": []})
    path = folder / "samples" / "small.jsonl"
    path.write_text(path.read_text() + '{"key": "3", "sco')
    with Journal(folder, {"bundle": "a"}) as journal:
        found = by_key(journal)
        assert found == {"1": {"key": "1", "scores": [0.1 + 0.2]}, "2": {"key": "2", "scores": []}}
        journal.add("small", {"key": "3"})
        assert list(by_key(journal)) == ["1", "2", "3"]
        assert list(by_key(journal, lambda row: "scores" in row)) == ["1", "2"], "what does not fit is dropped"
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("line", ["[]", "7", '{"key": 7}', "{}", "\0\0", "{" * 100_000])
def test_a_broken_line_is_no_row(tmp_path: Path, line: str) -> None:
    with Journal(tmp_path / "out", OWN) as journal:
        journal.add("small", {"key": "1"})
        path = tmp_path / "out" / "samples" / "small.jsonl"
        path.write_text(f"{line}\n{path.read_text()}")
        assert list(by_key(journal)) == ["1"]


def test_another_runs_samples_stay_unless_they_are_to_go(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Journal(folder, {"bundle": "a", "threads": 1}) as journal:
        journal.add("small", {"key": "1"})
    with pytest.raises(InputError, match=r"other settings \(bundle, threads\); `overwrite`"):
        Journal(folder, {"bundle": "b", "threads": 2}).__enter__()
    with Journal(folder, {"bundle": "b"}, overwrite=True) as journal:
        assert by_key(journal) == {}


def test_a_finished_report_stays_unless_it_is_to_go(tmp_path: Path) -> None:
    with Journal(tmp_path, OWN) as journal:
        journal.finish({"schema": 1})
    with pytest.raises(InputError, match="finished already; `overwrite`"):
        Journal(tmp_path, OWN).__enter__()
    with Journal(tmp_path, OWN, overwrite=True):
        assert not (tmp_path / "report.json").exists()


def test_a_finished_run_has_its_rows_as_parquet(tmp_path: Path) -> None:
    prediction = {"key": "a", "sha256": "1", "truth": 1, "scores": [0.25, 0.75], "answer": None, "ms": {"vision": 1.5}}
    with Journal(tmp_path, OWN) as journal:
        for answer in ("before", "after"):
            journal.add("small", {**prediction, "answer": answer, "groups": {"age": "20-29"}})
        journal.add("small", {**prediction, "key": "b", "values": {"valence": 0.5}, "groups": {}})
        journal.add(FACES, {"key": "a", "sha256": "1", "boxes": [[1.0, 2, 3, 4], None], "found": True, "reason": None})
        journal.finish({"schema": 1})
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["faces.parquet", "small.parquet"]
    first, second = pyarrow.parquet.read_table(tmp_path / "samples" / "small.parquet").to_pylist()
    assert (first["answer"], first["scores"], first["groups"]) == ("after", [0.25, 0.75], [("age", "20-29")])
    assert (second["values"], second["ms"], second["truth"]) == ([("valence", 0.5)], [("vision", 1.5)], 1)
    (face,) = pyarrow.parquet.read_table(tmp_path / "samples" / "faces.parquet").to_pylist()
    assert face["boxes"] == [[1.0, 2.0, 3.0, 4.0], None]


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
    with Journal(tmp_path, OWN):
        pass


@pytest.mark.parametrize(
    "files",
    [
        {"samples/holiday.jpg": b""},
        {"run.json": b'{"bundle": "a"}', "samples/holiday.jpg": b""},
        {"run.json": b'{"bundle": "a"}', "samples/trip/1.jsonl": b""},
        {"run.json": b'{"speed": 12}', "notes.txt": b""},
        {"run.json": b"\xff\xfe\x00{", "samples/small.jsonl": b""},
        {"run.json": b"[1]"},
        {"samples": b"a file"},
    ],
)
def test_a_folder_that_only_looks_like_ours_is_left_as_it_is(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="holds other things"):
        Journal(tmp_path, OWN, overwrite=True).__enter__()
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_samples_that_are_a_link_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "list.jsonl").write_text("{}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "samples").symlink_to(tmp_path / "theirs")
    with pytest.raises(InputError, match="holds other things"):
        Journal(tmp_path / "out", OWN, overwrite=True).__enter__()


def test_overwriting_removes_what_a_benchmark_wrote_and_nothing_else(tmp_path: Path) -> None:
    with Journal(tmp_path, OWN) as journal:
        journal.add("small", {"key": "1"})
        for name in ("report.json", "report.md", "report.html", "my notes.md"):
            journal.write(name, "{}")
    (tmp_path / "samples" / ".small.jsonl.part").write_text("{")
    with Journal(tmp_path, {"bundle": "b"}, overwrite=True):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "samples", "run.json", "my notes.md"}
        assert not list((tmp_path / "samples").iterdir())


def test_two_benchmarks_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, OWN), pytest.raises(InputError, match="another benchmark is writing there"):
        Journal(tmp_path, OWN).__enter__()
    with Journal(tmp_path, OWN):
        pass


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\)"):
        Journal(tmp_path / "file" / "out", OWN).__enter__()
