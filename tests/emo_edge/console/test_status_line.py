"""The status line: what a terminal shows at the end holds each text once, and nothing glued to another."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from emo_edge.console.status_line import StatusLine, StatusLogHandler


class Terminal(io.StringIO):
    """A stderr that is a terminal and shows its lines."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Return the lines as they stand, styles left out."""
        plain = self.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
        return [line.rpartition("\r\x1b[K")[2] for line in plain.split("\n")]


def opened(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal; in the test itself, because pytest sets stderr again after the fixtures."""
    fake = Terminal()
    monkeypatch.setattr(sys, "stderr", fake)
    monkeypatch.setenv("COLUMNS", "31")
    monkeypatch.setenv("LINES", "10")
    return fake


def test_an_answer_replaces_the_progress_and_then_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    line = StatusLine()
    line.show("clip.mp4: 3 of 8")
    for piece in ("The person ", "looks\n", "happy."):
        line.append(piece)
    assert terminal.lines() == ["The person looks happy."]
    line.append(" And the corners of the lips")
    assert terminal.lines() == ["And the corners of the lips"], "a full line begins again in its place"
    line.clear()
    assert terminal.lines() == [""]


def test_a_long_line_is_cut_because_a_wrapped_one_could_not_be_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    StatusLine().show("x" * 100 + "\x1b[31m")
    assert terminal.lines() == ["x" * 30]
    StatusLine().show("漢" * 40)
    assert terminal.lines() == ["漢" * 15]


def test_control_characters_of_an_answer_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    StatusLine().append("a\x1b[2Jb\rc")
    assert terminal.lines() == ["a [2Jb c"]


def test_a_log_line_begins_on_an_empty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    line = StatusLine()
    handler = StatusLogHandler(line)
    line.show("1 of 2")
    handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, "careful", (), None))
    assert terminal.lines() == ["careful", ""]


def test_without_a_terminal_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    line = StatusLine()
    line.show("1 of 2")
    line.append("text")
    line.clear()
    assert capsys.readouterr().err == ""
