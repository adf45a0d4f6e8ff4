"""Control characters never reach a terminal, whichever command prints them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from emo_edge.console import terminal
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import PrintableFormatter, echo
from emo_edge.errors import InputError
from emo_edge.utils.text import UNPRINTABLE, printable, quoted, readable_name, utf8_text

HOSTILE = "".join(
    chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
BETWEEN = ("emo_edge", "benchmarks/report/compare")
"""Folders whose commands print what files hold."""
OWN = {"emo_edge/console/terminal.py", "emo_edge/console/status_line.py", "emo_edge/rendering/live_view.py"}
"""The one that prints for all, and what erases itself: the status line, and the live view, whose lines are fitted."""


@pytest.mark.parametrize("character", HOSTILE)
def test_every_control_character_is_escaped(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown == f"a{character}b" if character in "\t\n" else shown == f"a\\u{ord(character):04x}b"


def test_half_a_surrogate_pair_of_a_file_name_is_escaped() -> None:
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    assert printable(name) == utf8_text(name) == "caf\\xe9.mp4"
    assert printable("\ud83d") == "\\ud83d"


@pytest.mark.parametrize("name", ["caf\udce9.jpg", "li\nne.jpg", "esc\x1b[31m.jpg", "rtl\u202egpj.jpg", "a\tb.jpg"])
def test_a_name_of_the_command_line_has_one_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["emo-edge", "infer", "b", name])
    echo(f"{name}: no such file")
    echo(json.dumps([name]))
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{readable_name(name)}: no such file" and first.startswith("$'")
    assert json.loads(second) == [name]


def test_a_name_with_a_delete_leaves_json_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["emo-edge", "a\x7fb"])
    echo(json.dumps(["a\x7fb"]))
    assert json.loads(capsys.readouterr().out) == ["a\x7fb"]


def test_text_of_every_script_stays() -> None:
    text = "é 日本語 한국 😀 ▁ العربية\n\tü"
    assert printable(text) == text


def test_json_stays_json_of_the_same_meaning() -> None:
    values = {HOSTILE: [HOSTILE, "é"]}
    for ascii_only in (True, False):
        assert json.loads(printable(json.dumps(values, ensure_ascii=ascii_only))) == values


def test_a_value_is_quoted_escaped_and_shortened() -> None:
    assert quoted("\x1b[31m") == r"'\x1b[31m'"
    assert quoted("\u202e") == r"'\u202e'"
    assert len(quoted("x" * 10**6)) < 70
    assert quoted(-1.0) == "-1.0"


@pytest.mark.parametrize("err", [False, True])
def test_commands_print_no_escapes(err: bool, capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"a {HOSTILE}", err=err)
    captured = capsys.readouterr()
    assert not UNPRINTABLE.search(captured.err if err else captured.out)
    assert not (captured.out if err else captured.err)


def test_an_error_that_quotes_a_name_has_no_escapes() -> None:
    @click.command(cls=EdgeCommand)
    def command() -> None:
        raise InputError(f"{Path('a' + chr(0x1B) + ']0;x' + chr(7))}: no such file")

    done = CliRunner().invoke(command)
    assert (done.exit_code, done.output) == (4, "Error: a\\u001b]0;x\\u0007: no such file\n")


def test_a_log_line_has_no_escapes() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 1, "%s", ("\x1b[2J",), None)
    assert PrintableFormatter().format(record) == "\\u001b[2J"


def test_commands_print_through_one_function() -> None:
    root = Path(terminal.__file__).parents[2]
    paths = [path for folder in BETWEEN for path in (root / folder).rglob("*.py")]
    using = {path.relative_to(root).as_posix() for path in paths if "click.echo" in path.read_text(encoding="utf-8")}
    assert using <= OWN


def test_a_name_of_the_command_line_makes_no_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["emo-edge", "infer", "no\nfile.jpg"])
    echo("Error: no\nfile.jpg: no such file\nsecond line")
    assert capsys.readouterr().out == "Error: $'no\\x0afile.jpg': no such file\nsecond line\n"


def test_a_password_that_a_message_repeats_is_not_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", "from emo_edge.cli import main; main()"]
    address = "rtsp://user:se@cret@127.0.0.1/a?token=abc"
    for words in (
        ("infer", address, "x.jpg"),
        ("infer", "b", "x.jpg", f"--draw={address}"),
        ("plan", address),
        ("calibrate", address, "--samples", address),
        ("import", "llava", "--model", address, "--out", "x"),
    ):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode in (2, 4, 5), (words, done)
        assert not any(part in done.stdout + done.stderr for part in ("se@cret", "cret@", "abc")), (words, done.stderr)
