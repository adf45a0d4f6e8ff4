"""The token of a server: read from a file, compared in constant time, never shown."""

from __future__ import annotations

import base64
import binascii
import hmac
import stat
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.media.pipes import read_fifo

LEAST_CHARACTERS, MOST_CHARACTERS = 16, 4096
SUBPROTOCOL = "token."
"""Begins the subprotocol that carries the token of a WebSocket: a page cannot set its headers."""


def read_token(path: Path) -> str:
    """Return the token in a file, without the spaces around it; raise InputError for one that cannot be used."""
    try:
        token = _content(path).decode("ascii").strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds other characters than ASCII"
        raise InputError(f"{path}: the token cannot be read ({reason})") from None
    if not LEAST_CHARACTERS <= len(token) <= MOST_CHARACTERS or not token.isprintable() or " " in token:
        raise InputError(
            f"{path}: a token is one line of at least {LEAST_CHARACTERS} characters, at most {MOST_CHARACTERS}, "
            f"without spaces. Make one: openssl rand -hex 32 > {path}"
        )
    return token


def _content(path: Path) -> bytes:
    """Return the content of a file, or of a FIFO such as a shell's ``<(...)``, bounded."""
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        return read_fifo(path, MOST_CHARACTERS, content="token")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise InputError(f"{path}: the token cannot be read (a device); name a file that holds it")
    with path.open("rb") as file:
        return file.read(MOST_CHARACTERS + 1)


class TokenCheck:
    """Compares what a request carries with the server's token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def header(self, value: str | None) -> bool:
        """Return True for the header ``Authorization: Bearer TOKEN``."""
        scheme, _, given = (value or "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(given.strip().encode("utf-8", "replace"))

    def subprotocols(self, offered: list[str]) -> bool:
        """Return True if one of a WebSocket's subprotocols is ``token.`` and the token in base64url."""
        return any(self._is_token(_decoded(name)) for name in offered if name.startswith(SUBPROTOCOL))

    def _is_token(self, given: bytes) -> bool:
        return hmac.compare_digest(given, self._token)


def _decoded(name: str) -> bytes:
    text = name.removeprefix(SUBPROTOCOL)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""
