"""Worker processes: the same rows as without them, and what happens when one ends."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.items import Item, chunks
from emo_edge.batch.listing import Listing
from emo_edge.batch.local_engine import LocalEngine
from emo_edge.batch.run import label
from emo_edge.errors import BundleError, DeviceError, InputError
from emo_edge.inference.results import Request
from tests.emo_edge.batch.conftest import DRAWINGS, InProcess, rows_in, rows_of


def test_workers_write_the_rows_that_one_process_writes(
    config: LabelConfig, engine: InProcess, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "empty.jpg").write_bytes(b"")
    listing = Listing([str(pictures)])
    label(listing, tmp_path / "one", engine)
    with LocalEngine(config, workers=2, usable=2) as workers:
        counts = label(listing, tmp_path / "two", workers, rows_per_part=4)
        ended = [worker.process for worker in workers._workers]
    assert rows_in(tmp_path / "two") == rows_in(tmp_path / "one") and (counts.read, counts.errors) == (13, 1)
    assert len(ended) == 2 and not any(process.is_alive() for process in ended)


def test_workers_leave_no_copy_of_a_video_behind(
    config: LabelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("temporary", "videos"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    path = tmp_path / "videos" / "clip.avi"
    face = cv2.imread(str(DRAWINGS[0]))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, face.shape[1::-1])
    writer.write(face)
    writer.release()
    address = f"file://{path}"
    with LocalEngine(config, workers=1, usable=1) as engine:
        engine.open()
        ((row,),) = (rows_of(read) for read in engine.run(chunks([Item(address, address, video=True)])))
        assert row["source"] == address and row["label"]
        assert list((tmp_path / "temporary").glob("emo-edge-*"))
    assert not list((tmp_path / "temporary").glob("emo-edge-*"))


def kill_readers_of(pipe: Path, engine: LocalEngine, times: int) -> threading.Thread:
    """Kill each process that opens a pipe for reading, so many times."""

    def kill() -> None:
        for _ in range(times):
            writer = os.open(pipe, os.O_WRONLY)  # waits for a reader
            for worker in list(engine._workers):
                worker.process.kill()
                worker.process.join()
            os.close(writer)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("times", "kinds"), [(1, [None, None, "input"]), (2, [None, None, "worker"])])
def test_a_worker_that_is_killed_is_replaced(
    config: LabelConfig, tmp_path: Path, times: int, kinds: list[str | None], caplog: pytest.LogCaptureFixture
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    items = [Item(str(path), str(path)) for path in (DRAWINGS[0], pipe, DRAWINGS[1])]
    with LocalEngine(config, workers=1, usable=1) as engine:
        engine.open()
        killer = kill_readers_of(pipe, engine, times)
        if times == 1:
            threading.Thread(target=lambda: (killer.join(), os.close(os.open(pipe, os.O_WRONLY))), daemon=True).start()
        rows = [row for read in engine.run(chunks(items)) for row in rows_of(read)]
        killer.join()
    assert sorted(row["source"] for row in rows) == sorted(item.name for item in items)
    assert sorted((row["error_kind"] for row in rows), key=str) == sorted(kinds, key=str)
    assert caplog.text.count("a worker process ended by SIGKILL; another one goes on") == times


def test_the_error_of_a_worker_is_the_engines(config: LabelConfig, tmp_path: Path) -> None:
    with (
        LocalEngine(replace(config, bundle=tmp_path), 1, 1) as engine,
        pytest.raises(BundleError, match="no such file"),
    ):
        engine.open()
    request = Request(labels=("joy",))
    with LocalEngine(replace(config, request=request), 1, 1) as engine, pytest.raises(InputError, match="joy"):
        engine.open()


def test_a_worker_that_ends_while_it_opens_is_an_error(config: LabelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalEngine(config, 1, 1) as engine:
        real = engine._started

        def killed() -> Any:
            worker = real()
            worker.process.kill()
            return worker

        monkeypatch.setattr(engine, "_started", killed)
        with pytest.raises(DeviceError, match=r"ended while it opened .* \(ended by SIGKILL\)"):
            engine.open()


@pytest.mark.parametrize(
    ("workers", "threads", "usable", "count", "each"),
    [(None, None, 4, 4, 1), (2, None, 8, 2, 4), (3, None, 2, 3, 1), (1, None, 6, 1, 6), (2, 3, 2, 2, 3)],
)
def test_threads_of_all_workers_are_no_more_than_the_cpus(
    config: LabelConfig, workers: int | None, threads: int | None, usable: int, count: int, each: int
) -> None:
    engine = LocalEngine(replace(config, threads=threads), workers, usable)
    assert (engine.count, engine._config.threads) == (count, each)
