"""Weights of a detector: from a server on this machine and from a file, kept only if their content is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.cli.app import main
from emo_edge.errors import InputError
from emo_edge.faces import weights
from emo_edge.faces.weights import DOWNLOADS, YUNET, installed_weights, weights_path

CONTENT = b"weights " * 20_000
PROXIED = "http://nowhere.invalid/good"


class _Answers(BaseHTTPRequestHandler):
    """Gives the weights, other bytes, too many bytes, or an error."""

    def do_GET(self) -> None:
        bodies = {
            "/good": CONTENT,
            "http://nowhere.invalid/good": CONTENT,
            "/other": CONTENT[:-1] + b"!",
            "/endless": CONTENT * 20,
            "/cut": CONTENT[:70_000],
            "/chunk": b"2000\r\nweights ",
        }
        if self.path == "/words":
            self.wfile.write(b"no answer of HTTP\r\n\r\n")
            return
        if self.path == "/circle":
            self.send_response(302)
            self.send_header("Location", "/circle")
            self.end_headers()
            return
        if self.path not in bodies:
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/cut":
            self.send_header("Content-Length", str(len(CONTENT)))
        if self.path == "/chunk":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.wfile.write(bodies[self.path])
        except OSError:  # the reader had enough
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as served:
        thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def known(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Make the test's content the one that is known."""
    one = replace(YUNET, url=url, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(weights.DOWNLOADS, "yunet", (one,))


def get(*words: str) -> Any:
    return CliRunner().invoke(main, ["detector", "get", "yunet", *words])


def test_a_download_says_what_it_fetches_and_keeps_it(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, f"{server}/good")
    done = get()
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{weights_path('yunet')}\n"
    assert done.stderr == (
        f"{server}/good\nlicence: MIT (Shiqi Yu, OpenCV Zoo)\nsize: {len(CONTENT)} bytes\n"
        f"sha256: {hashlib.sha256(CONTENT).hexdigest()}\n"
    )
    assert installed_weights("yunet").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("other", "its sha256 is another"),
        ("endless", "its sha256 is another"),
        ("cut", "cannot be downloaded (cut off after 70000 of 160000 bytes)"),
        ("none", "cannot be downloaded"),
        ("chunk", "cannot be downloaded (IncompleteRead("),
        ("words", "cannot be downloaded (no answer of HTTP)"),
        ("circle", "infinite loop. The last 30x error message was: Found). Fetch it"),
    ],
)
def test_nothing_else_is_kept(path: str, message: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, f"{server}/{path}")
    done = get()
    assert (done.exit_code, message in done.stderr) == (4, True), done.output
    assert done.stderr.count("\n") == 5  # four lines of what is fetched, and one error
    assert list(weights_path("yunet").parent.iterdir()) == []


def test_a_proxy_that_is_no_address_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, PROXIED)
    monkeypatch.setenv("http_proxy", "nonsense:xx")
    done = get()
    assert (done.exit_code, "cannot be downloaded (nonnumeric port: 'xx')" in done.stderr) == (4, True), done.output


def test_the_proxy_of_the_environment_is_asked(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, PROXIED)
    monkeypatch.setenv("http_proxy", server)
    done = get()
    assert done.exit_code == 0, done.output
    assert installed_weights("yunet").read_bytes() == CONTENT


def test_without_a_network_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, "http://127.0.0.1:9/none")
    done = get()
    assert done.exit_code == 4
    assert "Fetch it on a machine with a network, and give the file with --from" in done.stderr


def test_a_file_is_taken_if_its_content_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, "http://127.0.0.1:9/none")
    (tmp_path / "own.onnx").write_bytes(CONTENT)
    done = get("--from", str(tmp_path / "own.onnx"))
    assert (done.exit_code, done.stderr) == (0, f"from {tmp_path / 'own.onnx'}\n")
    (tmp_path / "own.onnx").write_bytes(CONTENT[1:])
    refused = get("--from", str(tmp_path / "own.onnx"))
    assert (refused.exit_code, "its sha256 is another" in refused.stderr) == (4, True)
    assert installed_weights("yunet").read_bytes() == CONTENT, "the file that was there stays"
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        assert "cannot be read (no plain file)" in get("--from", str(other)).stderr
    assert "cannot be read (No such file" in get("--from", str(tmp_path / "none")).stderr


def test_weights_that_changed_are_not_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the weights of yunet are not here"):
        installed_weights("yunet")
    weights_path("yunet").parent.mkdir(parents=True)
    weights_path("yunet").write_bytes(CONTENT)
    with pytest.raises(InputError, match="changed since it was fetched"):
        installed_weights("yunet")


def test_every_known_file_has_its_address_licence_size_and_hash() -> None:
    for files in DOWNLOADS.values():
        for one in files:
            assert one.url.startswith("https://") and one.licence and one.size > 1000 and len(one.sha256) == 64


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not the file"),
        (b"<!DOCTYPE html><html></html>", "an HTML page, not the file"),
    ],
)
def test_what_a_download_left_instead_of_the_weights_is_named(content: bytes, kind: str, tmp_path: Path) -> None:
    given = tmp_path / "yunet.onnx"
    given.write_bytes(content)
    refused = get("--from", str(given))
    assert (refused.exit_code, f"{given}: {kind}" in refused.stderr) == (4, True)
    assert not weights_path("yunet").exists()
