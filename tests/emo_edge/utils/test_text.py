"""Names for terminals and JSON."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from emo_edge.utils.text import readable_name, utf8_name, utf8_text


@pytest.mark.parametrize(
    ("name", "utf8", "readable"),
    [
        (b"a.jpg", "a.jpg", "a.jpg"),
        ("é 日本 👩\u200d👧.jpg".encode(), "é 日本 👩\u200d👧.jpg", "é 日本 👩\u200d👧.jpg"),
        (b"caf\xe9.jpg", r"$'caf\xe9.jpg'", r"$'caf\xe9.jpg'"),
        (b"it's \\ \xff", r"$'it\'s \\ \xff'", r"$'it\'s \\ \xff'"),
        (b"$'x'", r"$'$\'x\''", r"$'$\'x\''"),
        (b"a\x1b[31m\n", "a\x1b[31m\n", r"$'a\x1b[31m\x0a'"),
        ("a\u202egpj".encode(), "a\u202egpj", r"$'a\xe2\x80\xaegpj'"),
    ],
)
def test_names_are_printed_and_read_back(name: bytes, utf8: str, readable: str) -> None:
    text = os.fsdecode(name)
    assert utf8_name(text) == utf8 and readable_name(text) == readable
    json.dumps(utf8, ensure_ascii=False).encode()
    if readable.startswith("$'"):
        back = subprocess.run(["bash", "-c", f"printf %s {readable}"], capture_output=True, check=True)
        assert back.stdout == name


def test_a_message_becomes_utf8() -> None:
    assert utf8_text(os.fsdecode(b"caf\xe9: no such file") + "\ud800") == r"caf\xe9: no such file\ud800"
