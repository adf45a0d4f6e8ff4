"""Streams of a local server: the real reason when one cannot be opened, and how it ended."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from emo_edge.errors import DeviceError, InputError
from emo_edge.media import captures
from emo_edge.media.readers import pyav_reader, unreachable
from emo_edge.media.sources import camera_path, classify_source
from emo_edge.media.videos import sampled_frames
from tests.made_videos import write

LENGTH = 30
PASSWORD = "se@cret"
LOGIN = "Basic " + base64.b64encode(f"us:{PASSWORD}".encode()).decode()


class ProtocolNotFoundError(Exception):
    """Of the name that PyAV's has."""


class Camera(BaseHTTPRequestHandler):
    """Serves one video, asks for a login below /login, and misbehaves where the path says so."""

    video: ClassVar[bytes] = b""
    released: ClassVar[threading.Event]

    def do_GET(self) -> None:
        kind = self.path.split("?")[0].split("/")[1]
        if kind == "login" and self.headers.get("Authorization") != LOGIN:
            return self.end(401, ("WWW-Authenticate", 'Basic realm="camera"'))
        if kind.isdigit():
            return self.end(int(kind))
        self.send_response(200)
        if kind != "stall":
            self.send_header("Content-Length", str(len(self.video)))
        self.end_headers()
        self.wfile.write(b"no video " * 500 if kind == "junk" else self.video[: -len(self.video) // 3])
        if kind in ("login", "whole"):
            self.wfile.write(self.video[-len(self.video) // 3 :])
        if kind == "stall":
            self.wfile.flush()
            self.released.wait(20)

    do_HEAD = do_GET

    def end(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: clients that have read enough close the connection."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = write(tmp_path_factory.mktemp("stream") / "video.ts", [index / 10 for index in range(LENGTH)])
    Camera.video, Camera.released = path.read_bytes(), threading.Event()
    with Server(("127.0.0.1", 0), Camera) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_port}"
        Camera.released.set()
        running.shutdown()


def failure(source: str, frames: int = 0) -> str:
    """Read until the DeviceError; return it, with all that a traceback would show, checked for the password."""
    count = 0
    with pytest.raises(DeviceError) as raised:
        for _ in sampled_frames(source):
            count += 1
    assert raised.value.exit_code == 6
    assert count >= frames if frames else not count
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value.__context__)
    assert "cret" not in shown and "hidden" not in shown
    return str(raised.value)


@pytest.mark.parametrize("pyav", [True, False])
@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("login/a.ts", "401: user name or password is missing or wrong"),
        ("404/a.ts", "404: there is no such stream"),
        ("403/a.ts", "403: access is forbidden"),
        ("503/a.ts", "503: the service is not available"),
        ("junk/a.ts", "what it sends is no video"),
    ],
)
def test_what_the_server_answers_is_named(
    server: str, path: str, wanted: str, pyav: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "has_pyav", lambda: pyav)
    message = failure(f"http://other:wrong-{PASSWORD}@{server}/{path}?token=hidden")
    assert message.startswith(f"http://{server}/{path}?token=***: the stream cannot be opened (")
    assert wanted in message


@pytest.mark.parametrize("pyav", [True, False])
@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp"])
def test_a_refused_connection_and_an_unknown_host_are_named(
    scheme: str, pyav: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "has_pyav", lambda: pyav)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        start = time.monotonic()
        assert f"connection refused: no program listens on 127.0.0.1:{port}" in failure(
            f"{scheme}://us:{PASSWORD}@127.0.0.1:{port}/live?token=hidden"
        )
    assert "unknown host nowhere.invalid" in failure(f"{scheme}://us:{PASSWORD}@nowhere.invalid/live?token=hidden")
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("password", ["cret@t/x", "cre/t", "cre?t", "cre#t", "c@re@t/t"])
def test_no_piece_of_a_password_is_named_as_a_host(password: str) -> None:
    said = failure(f"rtsp://us:{password}@127.0.0.1:9/cam")
    assert "the address is malformed: in a user name or a password write %2F" in said
    assert "cre" not in said
    assert "host" not in said


def test_a_silent_server_is_waited_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pyav_reader, unreachable):
        monkeypatch.setattr(module, "OPEN_TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = "{}:{}".format(*silent.getsockname())
        assert f"no answer from {place} within 1 s" in failure(f"rtsp://us:{PASSWORD}@{place}/live")


def test_a_protocol_that_is_not_there_is_named() -> None:
    assert "unsupported protocol: this FFmpeg has no srt://" in unreachable.reason("srt://h", ProtocolNotFoundError())
    with pytest.raises(InputError, match=r"^ftp://host/a: unsupported protocol ftp://\. A source is"):
        sampled_frames(f"ftp://us:{PASSWORD}@host/a")
    with pytest.raises(InputError, match=r"^\*\*\*@host/a: no such file"):
        sampled_frames(f"rtsp:/us:{PASSWORD}@host/a")


def test_a_stream_that_ends_properly_is_no_error(server: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        frames = list(sampled_frames(f"http://us:{PASSWORD}@{server}/login/a.ts?token=hidden"))
    assert len(frames) == LENGTH
    assert f"http://{server}/login/a.ts?token=***: the stream ended after {LENGTH} frames" in caplog.text
    assert "cret" not in caplog.text


@pytest.mark.parametrize("pyav", [True, False])
def test_the_protocol_may_have_capital_letters(server: str, pyav: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "has_pyav", lambda: pyav)
    assert len(list(sampled_frames(f"HTTP://{server}/whole/a.ts"))) == LENGTH


def test_a_stream_that_stalls_or_breaks_off_is_an_error_after_its_frames(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The few frames are all read while it opens, which waits for more as long as opening may take.
    monkeypatch.setattr(pyav_reader, "OPEN_TIMEOUT_S", 3)
    monkeypatch.setattr(pyav_reader, "READ_TIMEOUT_S", 1)
    assert "the stream stalled: nothing came for 1 s" in failure(f"http://{server}/stall/a.ts?token=hidden", 5)
    assert "the stream broke off" in failure(f"http://us:{PASSWORD}@{server}/short/a.ts?token=hidden", 5)


def test_nothing_native_is_printed(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("login/a.ts", "404/a.ts", "short/a.ts"):
        with pytest.raises(DeviceError):
            list(sampled_frames(f"http://us:wrong{PASSWORD}@{server}/{path}?token=hidden"))
    assert capfd.readouterr() == ("", "")


def test_a_link_below_dev_v4l_is_a_camera_and_another_device_is_none(tmp_path: Path) -> None:
    assert classify_source("/dev/v4l/by-id/usb-none-index0") == "camera"
    with pytest.raises(DeviceError, match=r"camera /dev/v4l/by-id/usb-none-index0 cannot be opened; this machine has"):
        list(sampled_frames("/dev/v4l/by-id/usb-none-index0"))
    with pytest.raises(InputError, match="/dev/null: is a device that is no camera"):
        classify_source("/dev/null")
    (tmp_path / "video7").touch()
    (tmp_path / "front").symlink_to("video7")
    assert camera_path(str(tmp_path / "front")) == str((tmp_path / "video7").resolve())
    assert (camera_path("3"), camera_path("/dev/video011")) == ("/dev/video3", "/dev/video11")
