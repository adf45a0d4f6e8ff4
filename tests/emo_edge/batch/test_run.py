"""Runs and their folders: no row is lost and none is double, whatever stops a run, and whoever changed what."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emo_edge.batch import items as items_module
from emo_edge.batch import parts
from emo_edge.batch import run as run_module
from emo_edge.batch.config import LabelConfig
from emo_edge.batch.listing import Listing
from emo_edge.batch.parts import MANIFEST, FinishedInputs, RunFolder
from emo_edge.batch.progress import progress_text, summary_text
from emo_edge.batch.reader import LabelReader, ReadChunk
from emo_edge.batch.run import LabelCounts, label
from emo_edge.errors import InputError
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.results import Request
from emo_edge.utils.files import sha256_of
from tests.emo_edge.batch.conftest import InProcess, rows_in


def run(engine: InProcess, folder: Path, *sources: object, per_part: int = 5, most: int | None = None) -> LabelCounts:
    engine.given.clear()
    listing = Listing([str(source) for source in sources], left_out=folder)
    return label(listing, folder, engine, rows_per_part=per_part, max_errors=most)


def names_in(folder: Path) -> list[str]:
    return [Path(row["source"]).name for row in rows_in(folder)]


def manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return document


def test_a_run_writes_parts_and_a_manifest_that_names_them(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = run(engine, out, pictures)
    assert (counts.read, counts.rows, counts.faces, counts.errors, counts.parts) == (12, 12, 12, 0, 2)
    assert names_in(out) == [f"{number:02d}.jpg" for number in range(12)]
    document = manifest(out)
    assert [part["rows"] for part in document["parts"]] == [8, 4], "a part ends with a chunk"
    assert all(part["sha256"] == sha256_of(out / part["name"]) for part in document["parts"])
    assert document["settings_sha256"] == rows_in(out)[0]["settings_sha256"] and document["table_version"] == 1
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, "part-00001.parquet", "part-00002.parquet"]


def test_rows_that_wait_for_their_part_are_joined(
    engine: InProcess, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, tmp_path / "as they come", pictures, per_part=100)
    joined, sizes = run_module.joined_chunks, list[int]()

    def counted(chunks: list[ReadChunk]) -> ReadChunk:
        sizes.append(len(chunks))
        return joined(chunks)

    monkeypatch.setattr(run_module, "JOINED_CHUNKS", 2)
    monkeypatch.setattr(run_module, "joined_chunks", counted)
    monkeypatch.setattr(items_module, "CHUNK_ITEMS", 2)
    counts = run(engine, tmp_path / "joined", pictures, per_part=100)
    assert (sizes, counts.rows, counts.parts) == ([2, 2, 2], 12, 1)
    assert rows_in(tmp_path / "joined") == rows_in(tmp_path / "as they come")


def test_a_second_run_reads_nothing_and_a_new_input_alone(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(engine, out, pictures)
    before = manifest(out)
    counts = run(engine, out, pictures)
    assert engine.given == [] and counts.unchanged == 12 and manifest(out) == before
    shutil.copy(pictures / "00.jpg", pictures / "new.jpg")
    run(engine, out, pictures)
    assert engine.given == [str(pictures / "new.jpg")] and len(names_in(out)) == 13


def test_a_folder_whose_name_looks_like_an_address(
    engine: InProcess, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("s3:") / "run"
    run(engine, out, pictures)
    shutil.copy(pictures / "01.jpg", pictures / "00.jpg")
    assert run(engine, out, pictures).unchanged == 11
    assert len(names_in(out.absolute())) == 12


def test_an_input_named_twice_is_read_once(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    counts = run(engine, tmp_path / "out", pictures, pictures / "00.jpg", pictures / "*.jpg")
    assert (counts.read, counts.twice) == (12, 9) and len(set(names_in(tmp_path / "out"))) == 12


def test_the_rows_of_a_changed_input_are_replaced(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (pictures / "caf\udce9.jpg").write_bytes(b"")
    run(engine, out, pictures, per_part=4)
    shutil.copy(pictures / "01.jpg", pictures / "00.jpg")
    counts = run(engine, out, pictures)
    assert engine.given == [str(pictures / "00.jpg")] and counts.unchanged == 12
    rows = rows_in(out)
    assert len(rows) == 13 and len({row["source"] for row in rows}) == 13
    assert {row["source"]: row["sha256"] for row in rows}[str(pictures / "00.jpg")] == sha256_of(pictures / "00.jpg")
    document = manifest(out)
    assert sum(part["rows"] for part in document["parts"]) == sum(part["inputs"] for part in document["parts"]) == 13
    assert sum(part["errors"] for part in document["parts"]) == 1
    assert {path.name for path in out.glob("part-*")} == {part["name"] for part in document["parts"]}


def test_an_error_that_may_pass_is_tried_again(
    engine: InProcess, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "out", engine.reader._pipeline.read_many

    def failing(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("today")

    monkeypatch.setattr(engine.reader._pipeline, "read_many", failing)
    assert run(engine, out, pictures / "00.jpg").kinds == {"failed": 1}
    monkeypatch.setattr(engine.reader._pipeline, "read_many", real)
    assert run(engine, out, pictures / "00.jpg").errors == 0
    (row,) = rows_in(out)
    assert row["label"] and row["error"] is None


class StoppedError(BaseException):
    """As a signal, whatever the moment."""


STEPS: list[tuple[str, int]] = [
    ("_write", 1),
    ("_write", 2),
    ("_write_manifest", 1),
    ("_write_manifest", 2),
    ("_write_manifest", 3),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("step", "number"), STEPS)
def test_a_run_that_stops_at_any_step_of_a_part_goes_on(
    engine: InProcess,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
    after: bool,
) -> None:
    out, calls, real = tmp_path / "out", iter(range(1, 99)), getattr(RunFolder, step)

    def stopping(*arguments: Any, **options: Any) -> Any:
        stops = next(calls) == number
        done = None if stops and not after else real(*arguments, **options)
        if stops:
            raise StoppedError
        return done

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, step, stopping)
        with pytest.raises(StoppedError):
            run(engine, out, pictures)
    assert len(rows_in(out)) == len({row["source"] for row in rows_in(out)}) if out.exists() else True
    left = sum(part["rows"] for part in manifest(out)["parts"]) if (out / MANIFEST).exists() else 0
    run(engine, out, pictures)
    assert sorted(names_in(out)) == [f"{n:02d}.jpg" for n in range(12)]
    assert len(engine.given) == 12 - left
    assert sorted(path.name for path in out.glob("*.parquet")) == sorted(one["name"] for one in manifest(out)["parts"])
    assert not list(out.glob(".*"))


def test_an_interruption_keeps_what_was_read(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    class Interrupted(InProcess):
        def run(self, chunks: Any) -> Iterator[ReadChunk]:
            for number, read in enumerate(super().run(chunks)):
                if number:
                    raise KeyboardInterrupt
                yield read

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(engine.reader), tmp_path / "out", pictures, per_part=1000)
    assert len(names_in(tmp_path / "out")) == 8


def test_too_many_errors_stop_the_run_and_keep_the_rows(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    for number in range(3):
        (pictures / f"0{number}.jpg").write_bytes(b"")
    assert run(engine, tmp_path / "all", pictures, most=3).errors == 3
    with pytest.raises(InputError, match=r"3 inputs cannot be read, more than `max_errors` 2; the last one: .*02.jpg"):
        run(engine, tmp_path / "out", pictures, most=2)
    assert len(names_in(tmp_path / "out")) == 8


def test_nothing_to_read_is_an_error(engine: InProcess, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture and no video to label"):
        run(engine, tmp_path / "out", tmp_path / "empty")


def test_pictures_without_any_face_are_rows(config: LabelConfig, pictures: Path, tmp_path: Path) -> None:
    strict = replace(config, detector="haar", limits=FaceLimits(min_face=1.0))
    with LabelReader(strict) as opened:
        counts = run(InProcess(opened), tmp_path / "out", pictures)
    assert (counts.rows, counts.faces, counts.without_face, counts.errors) == (12, 0, 12, 0)
    assert all(row["face"] is None and row["label"] is None and row["sha256"] for row in rows_in(tmp_path / "out"))


def changed(folder: Path, **values: Any) -> None:
    document = manifest(folder)
    (folder / MANIFEST).write_text(json.dumps(document | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"table_version": 0}, "holds a run of table schema version 0, this program writes 1; name another `out`"),
        ({"label_version": 9}, "holds a run of manifest version 9"),
        ({"bundle_sha256": "x"}, "holds the rows of another bundle"),
        ({"parts": [{"name": "../x"}]}, "not readable"),
        ({"parts": 3}, "not readable"),
    ],
)
def test_another_run_in_the_folder_is_one_error(
    engine: InProcess, pictures: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    run(engine, out, pictures / "00.jpg")
    changed(out, **values)
    with pytest.raises(InputError, match=message):
        run(engine, out, pictures / "00.jpg")
    assert len(rows_in(out)) == 1


def test_other_settings_are_named(config: LabelConfig, engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(engine, out, pictures / "00.jpg")
    with (
        LabelReader(replace(config, request=Request(temperature=2.0))) as other,
        pytest.raises(InputError, match=r"rows of other settings \(temperature: 0.05, now 2.0\); name another `out`"),
    ):
        run(InProcess(other), out, pictures / "00.jpg")


def test_a_folder_of_other_things_a_changed_part_and_a_missing_one(
    engine: InProcess, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match="holds other things than the rows of a run"):
        run(engine, pictures, pictures)
    with pytest.raises(InputError, match="holds other things"):
        run(engine, pictures / "00.jpg", pictures)
    out = tmp_path / "out"
    run(engine, out, pictures)
    part = out / "part-00001.parquet"
    content = part.read_bytes()
    part.write_bytes(content + b"x")
    with pytest.raises(InputError, match=r"changed since it was written; remove it"):
        run(engine, out, pictures)
    part.unlink()
    run(engine, out, pictures)
    assert len(engine.given) == 8 and "part-00001.parquet: is missing; its inputs are read again" in caplog.text
    assert len(set(names_in(out))) == len(names_in(out)) == 12


def test_two_writers_are_refused(engine: InProcess, pictures: Path, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "out"), pytest.raises(InputError, match="another run is writing there"):
        run(engine, tmp_path / "out", pictures)
    run(engine, tmp_path / "out", pictures)


def test_two_writers_are_refused_where_the_file_system_has_no_locks(
    engine: InProcess, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with RunFolder(tmp_path / "out"), pytest.raises(InputError, match=r"another run is writing there \(process \d+"):
        run(engine, tmp_path / "out", pictures)
    run(engine, tmp_path / "out", pictures)
    assert len(names_in(tmp_path / "out")) == 12


def test_a_full_disk_is_one_error_and_the_next_run_goes_on(
    engine: InProcess, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, calls = tmp_path / "out", parts.replaced_file, iter(range(99))

    def full(target: Path, **options: Any) -> Any:
        if target.name == "part-00002.parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        next(calls)
        return real(target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "replaced_file", full)
        with pytest.raises(InputError, match=r"out: cannot be written \(No space left on device\); make room"):
            run(engine, out, pictures)
    assert len(names_in(out)) == 8
    run(engine, out, pictures)
    assert len(engine.given) == 4 and len(names_in(out)) == 12


def test_a_read_only_target_is_refused_before_anything_is_read(
    engine: InProcess, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(probe: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("emo_edge.storage.output_paths._write_and_remove", refused)
    with pytest.raises(InputError, match="Read-only file system"):
        run(engine, tmp_path / "out", pictures)
    assert engine.given == []


def test_finished_inputs_keep_what_must_be_read_again() -> None:
    finished = FinishedInputs()
    for name, digest in (("a", "ab"), ("a", ""), ("a", "ab"), ("b", None), ("c", "cd")):
        finished.note(name, digest)
    assert [finished.known(name) for name in "abcd"] == [(True, ""), (True, None), (True, "cd"), (False, None)]
    assert len(finished) == 3


@pytest.mark.parametrize(
    ("counts", "total", "text"),
    [
        (LabelCounts(read=50, errors=2), 100, "50 of 100 done, 2 with errors, 5.0 a second, about 10 s left"),
        (LabelCounts(read=50, unchanged=1000), 500_000, "1,050 of 500,000 done, 5.0 a second, about 79 min left"),
        (LabelCounts(read=50), None, "50 done, 5.0 a second"),
        (LabelCounts(), 5, "0 of 5 done, 0.0 a second"),
    ],
)
def test_progress_has_the_rate_and_the_time_that_is_left(counts: LabelCounts, total: int | None, text: str) -> None:
    assert progress_text(counts, total, 10.0) == text


def test_the_summary_names_everything() -> None:
    counts = LabelCounts(9, 4, 2, 11, 6, 1, 2)
    counts.kinds.update(["input", "input", "worker"])
    assert summary_text(counts, 7300) == (
        "9 read in 2.0 h, 11 rows, 6 faces, 1 without a face, 2 with errors (input 2, worker 1), 4 finished before, "
        "2 named twice"
    )
