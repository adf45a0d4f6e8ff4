"""``emo-edge import``: its progress where stderr is no terminal."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.endurance.inputs import write_face_network
from emo_edge.cli import import_
from emo_edge.console import progress
from emo_edge.export.importers import facexformer

STEP = "write, MB"


def test_a_piped_import_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import waits for the watching thread's line, so that a busy machine does not decide."""
    printed, written, real = progress._print, threading.Event(), facexformer.checkpoint_from_facexformer

    def noted(line: str) -> None:
        printed(line)
        if STEP in line:
            written.set()

    def waiting(*files: Any, progress: progress.Progress, **options: Any) -> None:
        def report(done: int, total: int) -> None:
            progress(done, total)
            assert written.wait(60)

        real(*files, progress=report, **options)

    write_face_network(tmp_path / "face.pt")
    monkeypatch.setattr(progress, "LINE_SECONDS", 1e-4)
    monkeypatch.setattr(progress, "_print", noted)
    monkeypatch.setattr(facexformer, "checkpoint_from_facexformer", waiting)
    words = ["facexformer", str(tmp_path / "face.pt"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(import_.main, words)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'out'}\n"
    assert STEP in done.stderr
