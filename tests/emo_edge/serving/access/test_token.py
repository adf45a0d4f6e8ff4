"""The token: read from a file, sent as a header or a subprotocol."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import pytest

from emo_edge.errors import InputError
from emo_edge.serving.access.token import TokenCheck, read_token

TOKEN = "0123456789abcdef"


def encoded(token: str) -> str:
    return "token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN


@pytest.mark.parametrize(
    "content", [b"", b"short", b"two words of a token", b"\xff" * 20, b"a" * 16 + b"\n" + b"b" * 16]
)
def test_a_token_that_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError, match="token") as caught:
        read_token(tmp_path / "token")
    assert content == b"" or content.decode("latin-1") not in str(caught.value)


def test_a_token_that_a_program_writes(tmp_path: Path) -> None:
    """As a shell's ``<(pass show camera)`` does."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(f"{TOKEN}\n",))
    writer.start()
    assert read_token(tmp_path / "pipe") == TOKEN
    writer.join()


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/urandom"])
def test_a_device_is_not_read_without_end(path: str) -> None:
    with pytest.raises(InputError, match="a device"):
        read_token(Path(path))


def test_a_long_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "token").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="at most 4096"):
        read_token(tmp_path / "token")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_token(tmp_path / "token")


@pytest.mark.parametrize(
    ("header", "may"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Bearer {TOKEN}x", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer ", False),
        ("Bearer é", False),
        (None, False),
    ],
)
def test_headers(header: str | None, may: bool) -> None:
    assert TokenCheck(TOKEN).header(header) is may


@pytest.mark.parametrize(
    ("offered", "may"),
    [
        ([], False),
        (["emo-edge.live.1"], False),
        ([encoded(TOKEN)], True),
        (["emo-edge.live.1", encoded(TOKEN)], True),
        ([encoded("another token entirely")], False),
        (["token."], False),
        (["token.%%%"], False),
        ([TOKEN], False),
    ],
)
def test_subprotocols(offered: list[str], may: bool) -> None:
    assert TokenCheck(TOKEN).subprotocols(offered) is may
