"""The reason why a stream cannot be opened: by FFmpeg's error, else by trying the connection."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from emo_edge.media.readers.credentials import without_credentials
from emo_edge.media.readers.frames import OPEN_TIMEOUT_S

Value = TypeVar("Value")
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
PROBE_S = 3.0
STATUS = {
    400: "bad request",
    401: "user name or password is missing or wrong",
    403: "access is forbidden",
    404: "there is no such stream",
    407: "a proxy asks for a password",
    429: "too many requests",
    503: "the service is not available",
}
ESCAPES = "in a user name or a password write %2F %3F %23 %40 %3A for / ? # @ :"
_BY_CLASS = {
    "HTTPUnauthorizedError": "401",
    "HTTPForbiddenError": "403",
    "HTTPNotFoundError": "404",
    "HTTPBadRequestError": "400",
    "HTTPTooManyRequestsError": "429",
}
"""Classes of `av.error`."""
_OF_TRANSPORT = {
    "ConnectionRefusedError": "connection refused: no program listens on {place}",
    "ConnectionResetError": "{place} closed the connection",
    "BrokenPipeError": "{place} closed the connection",
    "ProtocolNotFoundError": "unsupported protocol: this FFmpeg has no {scheme}://",
    "InvalidDataError": "what {place} sends is no video that can be read",
    "EOFError": "{place} closed the connection without sending a video",
    "FileNotFoundError": "there is no such file",
    "PermissionError": "permission denied",
    "ExitError": "no answer from {place} within {seconds} s",
    "TimeoutError": "no answer from {place} within {seconds} s",
}


def reason(address: str, error: BaseException | None = None, took_s: float = 0.0) -> str:
    """Return why ``address`` cannot be opened, without its credentials.

    ``error`` is PyAV's; of an error that says little, and without one, the address is tried for a few seconds.
    ``took_s`` is the time until it came: FFmpeg's RTSP calls a timeout invalid data.
    """
    parts = _parts(address)
    if parts is None or _is_mistaken(address, parts):
        return f"the address is malformed: {ESCAPES}"
    name = "ExitError" if took_s > 0.9 * OPEN_TIMEOUT_S else type(error).__name__
    if name in _BY_CLASS:
        return _answered(int(_BY_CLASS[name]))
    if name in _OF_TRANSPORT:
        return _OF_TRANSPORT[name].format(place=_place(parts), scheme=parts.scheme, seconds=OPEN_TIMEOUT_S)
    return _tried(parts) or f"{_place(parts)} answers, and what it sends is no video that can be read"


def _answered(status: int) -> str:
    kind = "the server's own error" if status >= 500 else "refused"
    return f"the server answers {status}: {STATUS.get(status, kind)}"


def _parts(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _is_mistaken(address: str, parts: SplitResult) -> bool:
    """Return whether a bare character in a password may have made a piece of it the host, which no message may name."""
    shown = _parts(without_credentials(address))
    return shown is None or shown.netloc != parts.netloc.rpartition("@")[2]


def _place(parts: SplitResult) -> str:
    host = parts.hostname or "this machine"
    port = parts.port or PORTS.get(parts.scheme)
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def _tried(parts: SplitResult) -> str | None:
    """Try to find and reach the host; return the reason, None where the connection works."""
    host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    if not host or port is None or parts.scheme in ("udp", "srt", "rtp"):
        return None
    if _within(PROBE_S, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)) is None:
        return f"unknown host {host}"
    try:
        with socket.create_connection((host, port), timeout=PROBE_S) as connection:
            status = _status(connection, parts) if parts.scheme in ("http", "rtsp") else None
    except ConnectionRefusedError:
        return _OF_TRANSPORT["ConnectionRefusedError"].format(place=_place(parts))
    except TimeoutError:
        return f"no answer from {_place(parts)} within {PROBE_S:.0f} s"
    except OSError as error:
        return f"{_place(parts)} cannot be reached: {error.strerror or type(error).__name__}"
    return _answered(status) if status and status >= 400 else None


def _within(seconds: float, call: Callable[[], Value]) -> Value | None:
    """Return what ``call`` returns, None after an OSError or when it takes longer: a resolver has no time limit."""
    answers: queue.SimpleQueue[Value | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(call())
        except (OSError, UnicodeError):
            answers.put(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return None


def _status(connection: socket.socket, parts: SplitResult) -> int | None:
    """Ask for the resource, without its password; return the status code of the answer."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {target} HTTP/1.0", f"Host: {_place(parts)}"]
    if parts.scheme == "rtsp":
        lines = [f"DESCRIBE rtsp://{_place(parts)}{target} RTSP/1.0", "CSeq: 1"]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace"))
    words = connection.recv(64).split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
