"""Standard streams that are closed, broken, or cannot encode our text; every case in a process of its own."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.console.streams import ASCII, HANDLER

MAIN = "from emo_edge.cli.app import main; main(prog_name='emo-edge')"
TEXT = "\u2588\u2588 86.2 \u00b1 1.0 \u2192 caf\u00e9 \U0001f600 12\u00b0"
ECHO = f"""
import click
from emo_edge.console.streams import prepare_streams
prepare_streams()
click.echo({TEXT!a})
click.echo({TEXT!a}, err=True)
"""


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of sh in which ``$PYTHON`` is this Python and ``$MAIN`` the program."""
    names = {"PYTHON": sys.executable, "MAIN": MAIN, "ECHO": ECHO, **environment}
    return subprocess.run(["sh", "-c", line], capture_output=True, env={**os.environ, **names}, check=False)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize(("arguments", "code"), [("--version", 0), ("fly", 2), ("verify none", 5)])
def test_a_closed_stream_changes_nothing_else(closed: str, arguments: str, code: int) -> None:
    ended = shell(f'"$PYTHON" -c "$MAIN" {arguments} {closed}')
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr
    assert closed != "<&-" or (ended.stdout if code == 0 else ended.stderr)


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Native code prints to descriptor 1 and 2, whatever they are."""
    code = (
        "import os\nfrom emo_edge.console.streams import prepare_streams\nprepare_streams()\n"
        f"with open({str(tmp_path / 'model')!r}, 'w') as file:\n    assert file.fileno() > 2\n"
        "    os.write(1, b'noise')\n    os.write(2, b'noise')\n"
    )
    ended = shell('"$PYTHON" -c "$CODE" >&- 2>&- <&-', CODE=code)
    assert (ended.returncode, (tmp_path / "model").read_bytes()) == (0, b"")


@pytest.mark.parametrize("arguments", ["--help", "inspect --help", "bench -h"])
def test_a_reader_that_has_gone_ends_quietly_with_141(arguments: str) -> None:
    ended = shell(f'{{ "$PYTHON" -c "$MAIN" {arguments}; echo $? >&2; }} | :')
    assert ended.stderr == b"141\n"


def test_a_reader_of_the_errors_that_has_gone_ends_with_141() -> None:
    ended = shell('{ { "$PYTHON" -c "$MAIN" fly 2>&1; echo $? >&3; } | :; } 3>&1')
    assert ended.stdout == b"141\n"
    ended = shell('{ { "$PYTHON" -c "$MAIN" verify none 2>&1; echo $? >&3; } | :; } 3>&1')
    assert ended.stdout == b"141\n"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("ascii", rb"## 86.2 +/- 1.0 -> caf\u00e9 \ud83d\ude00 12 deg"),
        ("latin-1", b"## 86.2 \xb1 1.0 -> caf\xe9 \\ud83d\\ude00 12\xb0"),
        ("cp932", b"## 86.2 \x81\x7d 1.0 \x81\xa8 caf\\u00e9 \\ud83d\\ude00 12\x81\x8b"),
        ("utf-8", TEXT.encode()),
    ],
)
def test_what_a_stream_cannot_encode_is_written_plainly(encoding: str, text: bytes) -> None:
    ended = shell('"$PYTHON" -c "$ECHO"', PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr.strip()) == (0, text, text)


@pytest.mark.parametrize("utf8", ["0", "1"])
def test_a_locale_without_characters(utf8: str) -> None:
    ended = shell('"$PYTHON" -c "$ECHO"', LC_ALL="C", PYTHONUTF8=utf8, PYTHONCOERCECLOCALE="0")
    assert ended.returncode == 0 and b"86.2" in ended.stdout
    assert ended.stdout.isascii() is (utf8 == "0")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp932", "utf-8", ASCII])
def test_a_name_that_is_no_utf8_is_written_as_it_is(encoding: str) -> None:
    assert os.fsdecode(b"caf\xfe.jpg").encode(encoding, HANDLER) == b"caf\xfe.jpg"
    assert "\ud800".encode(encoding, HANDLER) == rb"\ud800"


def test_the_codec_decodes_as_ascii_does() -> None:
    assert codecs.decode(b"abc", ASCII) == "abc"
    with pytest.raises(UnicodeDecodeError):
        codecs.decode(b"\xe9", ASCII, HANDLER)
