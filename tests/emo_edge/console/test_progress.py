"""Progress of long work where nobody sees a bar."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from emo_edge.console import progress
from emo_edge.console.progress import StepState, printed_progress, shown_reports


def test_a_step_is_described_with_total_and_time_left() -> None:
    state = StepState(0.0)
    state.note("reference", 10, 210)
    began = time.monotonic()
    state.note("reference", 60, 210)
    assert state.described(began + 50).startswith("reference, 60 of 210, 50 s, about 150 s left")
    state.note("trace face", 0, 1)
    assert state.described(time.monotonic() + 20) == "trace face, 20 s"


def test_a_line_comes_while_one_call_takes_long() -> None:
    lines, three = list[str](), threading.Event()

    def write(line: str) -> None:
        lines.append(line)
        if len(lines) > 2:
            three.set()

    with printed_progress(write, 0.01) as reports:
        reports.progress("trace face", 0, 1)
        assert three.wait(30)
        reports.line("face: traced")
    count = len(lines)
    assert "face: traced" in lines and all(line.startswith(("trace face, ", "face: ")) for line in lines)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert len(lines) == count


def test_where_stderr_is_no_terminal_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_reports() as reports:
        reports.line("reference: 210 pictures")
    assert capsys.readouterr().err == "reference: 210 pictures\n"


def test_what_comes_before_the_first_step_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    printed = threading.Event()
    monkeypatch.setattr(progress, "_print", lambda line: (print(line, file=sys.stderr), printed.set()))
    with shown_reports():
        assert printed.wait(30)
    assert capsys.readouterr().err.startswith("load libraries and inputs, ")
