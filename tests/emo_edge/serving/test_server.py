"""The server as its clients meet it: health, headers, tokens, sizes, slow and hostile clients, its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import jsonschema
import numpy as np
import pytest
from starlette.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from emo_edge.console.children import code_command
from emo_edge.errors import InputError
from emo_edge.serving import server
from emo_edge.serving.access.gate import route_name
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.routes.forms import InMemoryParser
from emo_edge.serving.server import Address, listening_socket
from tests.served import RUN, ServedCommand, ask, form

PNG = {"Content-Type": "image/png"}
TOKEN = "0123456789abcdef-secret"
PATIENCE_S = 60


def raw(url: str, *sent: bytes, wait_s: float = 0.0, patience_s: float = PATIENCE_S) -> bytes:
    """Send bytes over a plain connection; return all that comes until the server closes it."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), patience_s) as connection:
        for part in sent:
            connection.sendall(part)
            time.sleep(wait_s)
        received = b""
        while block := connection.recv(1 << 16):
            received += block
        return received


def head(path: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def test_health_readiness_and_metrics(server_url: str, drawing: bytes) -> None:
    assert ask(f"{server_url}/healthz").body == b"ok\n"
    assert ask(f"{server_url}/readyz").body == b"ready\n"
    ask(f"{server_url}/v1/readings", drawing, PNG)
    text = ask(f"{server_url}/metrics").body.decode()
    assert re.search(r'emo_edge_requests_total\{route="/v1/readings",status="200"\} [1-9]', text)
    for name in ("emo_edge_waiting ", "emo_edge_wait_seconds_count", 'emo_edge_stage_seconds_count{stage="vision"}'):
        assert name in text
    assert "process_resident_memory_bytes" in text


def test_every_answer_has_the_headers_of_safety(server_url: str) -> None:
    for path in ("/", "/v1/info", "/nothing", "/metrics"):
        headers = ask(f"{server_url}{path}").headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in headers


def test_info_and_samples(server_url: str) -> None:
    info = ask(f"{server_url}/v1/info").json
    assert info["name"] == "emo-tiny"
    assert len(info["label_sets"]["rafdb7"]) == 7
    assert info["has_answers"]
    assert info["has_face_facts"]
    sample = ask(server_url + info["samples"][0])
    assert sample.headers["content-type"].startswith("image/")
    assert ask(f"{server_url}/v1/samples/999").status == 404


def test_the_document_is_what_the_server_does(server_url: str) -> None:
    document = ask(f"{server_url}/openapi.json").json
    resolver = {"components": document["components"]}

    def check(value: Any, name: str) -> None:
        jsonschema.validate(value, {"$ref": f"#/components/schemas/{name}", **resolver})

    check(ask(f"{server_url}/v1/info").json, "Info")
    check(ask(f"{server_url}/v1/models").json, "Models")
    check(ask(f"{server_url}/nothing").json, "Error")
    for path, methods in document["paths"].items():
        for method in methods:
            answer = ask(server_url + path.format(number=0), b"" if method == "post" else None, method=method.upper())
            assert str(answer.status) in methods[method]["responses"], f"{method} {path}: {answer.status}"
            other = ask(server_url + path.format(number=0), method="DELETE")
            assert other.status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/page/../../../etc/passwd",
        "/page/..%2f..%2fetc%2fpasswd",
        "/page/%2e%2e/index.html",
        "/page//etc/passwd",
        "/page/index.html%00.js",
        "/page/",
        "/static/x",
        "/v1/samples/-1",
        "/v1/samples/1e3",
        "/v1/readings/",
    ],
)
def test_no_path_leads_anywhere_else(server_url: str, path: str) -> None:
    answer = raw(server_url, head(path, "Connection: close"))
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 307")), answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize(
    ("path", "name"),
    [("/", "/"), ("/v1/info", "/v1/info"), ("/v1/samples/3", "/v1/samples"), ("/page/x.js", "page"), ("/zzz", "other")],
)
def test_paths_are_counted_under_few_names(path: str, name: str) -> None:
    assert route_name(path) == name


def test_a_foreign_host_or_page_is_refused(server_url: str) -> None:
    assert ask(f"{server_url}/v1/info", headers={"Host": "attacker.example"}).status == 403
    assert ask(f"{server_url}/v1/info", headers={"Origin": "http://attacker.example"}).status == 403
    assert ask(f"{server_url}/v1/info", headers={"Origin": server_url}).status == 200


def test_the_token(in_process: Callable[..., Any], drawing: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with in_process(token=TOKEN) as server:
        for path in ("/", "/healthz", "/readyz"):
            assert ask(server.url + path).status == 200
        for path in ("/v1/info", "/v1/models", "/metrics", "/openapi.json", "/v1/samples/0", "/nothing"):
            refused = ask(server.url + path, headers={"Authorization": "Bearer wrong"})
            assert refused.status == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        given = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(f"{server.url}/v1/info", headers=given).status == 200
        assert ask(f"{server.url}/v1/readings?labels={TOKEN}", drawing, {**PNG, **given}).status in (200, 400)
        assert ask(f"{server.url}/v1/info?token={TOKEN}").status == 401, "a query is no place for a token"
    assert TOKEN not in caplog.text


def test_a_body_beyond_the_limit_gets_an_answer(in_process: Callable[..., Any]) -> None:
    """The client sees a 413, not a connection that is reset while it sends."""
    with in_process(ServerLimits(body_bytes=4 << 20)) as server:
        answer = ask(f"{server.url}/v1/readings", bytes(6 << 20), PNG)
        assert answer.status == 413
        assert "4,194,304 bytes" in answer.json["error"]["message"]
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        lines = ("Content-Type: image/png", "Transfer-Encoding: chunked", "Connection: close")
        endless = head("/v1/readings", *lines, method="POST")
        assert b" 413 " in raw(server.url, endless, *[chunk] * 80, b"0\r\n\r\n")[:30]


def test_who_may_not_ask_gets_an_answer_to_a_large_body_too(in_process: Callable[..., Any]) -> None:
    with in_process(token=TOKEN) as server:
        answer = ask(f"{server.url}/v1/readings", bytes(30 << 20), PNG)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        lines = ("Content-Length: 1000", "Expect: 100-continue", "Connection: close")
        asked = head("/v1/readings", *lines, method="POST")
        assert b" 401 " in raw(server.url, asked, patience_s=5)[:30], "who asks first gets the answer at once"
        slow = head("/v1/readings", "Content-Length: 1000", "Connection: close", method="POST")
    with in_process(ServerLimits(body_s=0.3), token=TOKEN) as server:
        assert b" 401 " in raw(server.url, slow, b"x")[:30]


def test_a_reading_that_could_only_wait_is_refused_before_its_body_is_taken_in(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(waiting=0)) as server:
        answer = ask(f"{server.url}/v1/readings", bytes(9 << 20), {"Content-Type": "text/none"})
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert ask(f"{server.url}/v1/info").status == 200


def test_bodies_have_a_bound_together(in_process: Callable[..., Any], drawing: bytes) -> None:
    with in_process(ServerLimits(bodies_bytes=1000)) as server:
        for _ in range(2):
            answer = ask(f"{server.url}/v1/readings", drawing, PNG)
            assert answer.status == 429
            assert answer.headers["retry-after"]
        assert ask(f"{server.url}/v1/readings", drawing[:900], PNG).status == 422, "nothing is held any more"


def test_a_slow_body_ends(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(body_s=0.3)) as server:
        begun = head(
            "/v1/readings", "Content-Type: image/png", "Content-Length: 1000", "Connection: close", method="POST"
        )
        assert b" 408 " in raw(server.url, begun, b"x")[:30]


def test_a_head_that_never_ends_is_closed(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(head_s=0.3)) as server:
        started = time.monotonic()
        assert raw(server.url, b"GET / HTTP/1.1\r\nX-Slow: ") == b""
        second = raw(server.url, head("/healthz"), b"GET / HTTP/1.1\r\nX-Slow: ")
        assert second.startswith(b"HTTP/1.1 200")
        assert second.count(b"HTTP/1.1") == 1
        assert time.monotonic() - started < PATIENCE_S / 2
        assert ask(f"{server.url}/healthz").status == 200


def test_an_address_has_so_many_connections(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(connections_per_address=2)) as server:
        address = urlsplit(server.url)
        held = [socket.create_connection((address.hostname, address.port)) for _ in range(2)]
        with pytest.raises(OSError):
            ask(f"{server.url}/healthz")
        for connection in held:
            connection.close()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                assert ask(f"{server.url}/healthz").status == 200
                break
            except OSError:
                time.sleep(0.01)


def test_a_length_that_is_not_kept(server_url: str, drawing: bytes) -> None:
    lying = head("/v1/readings", "Content-Type: image/png", "Content-Length: 5", "Connection: close", method="POST")
    assert b" 422 " in raw(server_url, lying, drawing)[:30]
    assert b" 400 " in raw(server_url, head("/v1/readings", "Content-Length: many", method="POST"))[:30]


def test_a_picture_is_counted_before_it_is_decoded(in_process: Callable[..., Any]) -> None:
    """Nine million pixels in a few kilobytes."""
    _, coded = cv2.imencode(".png", np.zeros((3000, 3000), np.uint8))
    with in_process(ServerLimits(pixels=1_000_000)) as server:
        answer = ask(f"{server.url}/v1/readings", coded.tobytes(), PNG)
        assert answer.status == 422
        assert "3000x3000" in answer.json["error"]["message"].replace(" ", "")


def test_more_requests_than_may_wait(in_process: Callable[..., Any], drawing: bytes) -> None:
    """Each is answered, with 200 or 429; afterwards everything is as before."""
    with in_process(ServerLimits(waiting=4)) as server:
        read, slow = server.service.pipeline.read_many, threading.Event()

        def slowly(*arguments: Any, **options: Any) -> Any:
            slow.wait(0.2)
            return read(*arguments, **options)

        server.service.pipeline.read_many = slowly
        with ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(lambda _: ask(f"{server.url}/v1/readings", drawing, PNG), range(64)))
        slow.set()
        assert {answer.status for answer in answers} == {200, 429}
        assert all(answer.headers["retry-after"] for answer in answers if answer.status == 429)
        assert ask(f"{server.url}/v1/readings", drawing, PNG).status == 200


def test_a_deadline(in_process: Callable[..., Any], drawing: bytes) -> None:
    with in_process(ServerLimits(deadline_s=0.1)) as server:
        read, go = server.service.pipeline.read_many, threading.Event()

        def slowly(*arguments: Any, **options: Any) -> Any:
            go.wait(0.5)
            return read(*arguments, **options)

        server.service.pipeline.read_many = slowly
        with ThreadPoolExecutor(2) as clients:
            first = clients.submit(ask, f"{server.url}/v1/readings", drawing, PNG)
            time.sleep(0.1)
            late = clients.submit(ask, f"{server.url}/v1/readings?faces=largest", drawing, PNG)
            assert first.result().status == 200
            assert late.result().status == 504


def test_a_fault_of_ours_is_a_500_and_the_next_request_is_fine(
    in_process: Callable[..., Any], drawing: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret of the picture")

    with in_process() as server:
        with monkeypatch.context() as patched:
            patched.setattr(server.service.pipeline, "read_many", fail)
            answer = ask(f"{server.url}/v1/readings", drawing, PNG)
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert "a reading failed" in caplog.text
        assert ask(f"{server.url}/v1/readings", drawing, PNG).status == 200


def test_a_client_that_goes_takes_its_reading_along(in_process: Callable[..., Any], drawing: bytes) -> None:
    with in_process() as server:
        read, entered, go = server.service.pipeline.read_many, threading.Event(), threading.Event()
        pictures: list[int] = []

        def slowly(images: Any, *arguments: Any, **options: Any) -> Any:
            pictures.append(len(images))
            entered.set()
            go.wait(PATIENCE_S)
            return read(images, *arguments, **options)

        server.service.pipeline.read_many = slowly
        with ThreadPoolExecutor(1) as clients:
            first = clients.submit(ask, f"{server.url}/v1/readings", drawing, PNG)
            assert entered.wait(PATIENCE_S)
            address = urlsplit(server.url)
            with socket.create_connection((address.hostname, address.port)) as gone:
                length = f"Content-Length: {len(drawing)}"
                gone.sendall(head("/v1/readings", "Content-Type: image/png", length, method="POST") + drawing)
                deadline = time.monotonic() + PATIENCE_S
                while "emo_edge_waiting 1.0" not in server.service.metrics.text().decode():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            time.sleep(0.3)
            go.set()
            assert first.result().status == 200
        assert ask(f"{server.url}/v1/readings", drawing, PNG).status == 200
        assert pictures == [1, 1], "nobody waited for the second picture"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_requests_end(small_bundle: Path, drawing: bytes, number: int, code: int) -> None:
    with ServedCommand(small_bundle, "--device", "cpu", "--detector", "whole") as command:
        assert ask(f"{command.url}/v1/readings", drawing, PNG).status == 200
        with ThreadPoolExecutor(4) as clients:
            under_way = [clients.submit(ask, f"{command.url}/v1/readings", drawing, PNG) for _ in range(4)]
            for answer in under_way:
                answer.result()
            started = time.monotonic()
            ended, said = command.end(number)
        assert ended == code
        assert time.monotonic() - started < 10
        assert "Traceback" not in said


def test_a_signal_lets_every_request_end_that_is_under_way(small_bundle: Path, drawing: bytes) -> None:
    """Also where that takes longer than a command's own second of grace: no answer breaks off."""

    def status(url: str) -> int | None:
        try:
            return ask(url, drawing, PNG).status
        except urllib.error.URLError:  # too late to be connected
            return None

    with ServedCommand(small_bundle, "--device", "cpu") as command, ThreadPoolExecutor(60) as clients:
        under_way = [clients.submit(status, f"{command.url}/v1/readings") for _ in range(60)]
        wait(under_way, return_when=FIRST_COMPLETED)
        assert command.end()[0] == 143
        answers = [answer.result() for answer in under_way]
    assert set(answers) <= {200, 503, None} and answers.count(200) > 1, answers


def test_a_refusal_reaches_a_client_that_still_sends(server_url: str) -> None:
    """A socket that is closed over what was not read resets the connection, and the answer is lost with it."""
    address, body = urlsplit(server_url), bytes(1 << 18)
    lines = ("Connection: close", f"Content-Length: {2 * len(body)}")
    with socket.create_connection((address.hostname, address.port), PATIENCE_S) as connection:
        connection.sendall(head("/nothing", *lines, method="POST"))
        assert connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 404"
        for _ in range(2):
            time.sleep(0.1)
            connection.sendall(body)
        received = b""
        while block := connection.recv(1 << 16):
            received += block
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]


def test_a_client_that_never_ceases_to_send_is_left(server_url: str) -> None:
    address = urlsplit(server_url)
    with socket.create_connection((address.hostname, address.port), PATIENCE_S) as connection:
        connection.sendall(head("/nothing", "Connection: close", f"Content-Length: {1 << 40}", method="POST"))
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() < started + PATIENCE_S:
                connection.sendall(bytes(1 << 16))


def test_a_client_that_just_connected_is_told_that_the_server_ends(small_bundle: Path, drawing: bytes) -> None:
    with ServedCommand(small_bundle, "--device", "cpu") as command:
        address = urlsplit(command.url)
        asked, silent = (socket.create_connection((address.hostname, address.port), PATIENCE_S) for _ in range(2))
        with asked, silent, ThreadPoolExecutor(1) as pool:
            assert ask(f"{command.url}/healthz").status == 200
            ending = pool.submit(command.end)
            time.sleep(0.2)
            lines = ("Content-Type: image/png", f"Content-Length: {len(drawing)}")
            asked.sendall(head("/v1/readings", *lines, method="POST") + drawing)
            assert asked.recv(12) == b"HTTP/1.1 503"
            assert ending.result()[0] == 143
            assert silent.recv(1) == b""


def test_who_waits_for_a_connection_is_accepted_before_the_end() -> None:
    accepted = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        writer.close()

    async def end(listening: socket.socket) -> None:
        listener = await asyncio.start_server(accept, sock=listening)
        await server.accept_waiting([listening])
        listener.close()
        await asyncio.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening, ExitStack() as clients:
        for _ in range(150):
            clients.enter_context(socket.create_connection(listening.getsockname(), PATIENCE_S))
        asyncio.run(end(listening))
        assert len(accepted) == 150


def test_a_signal_ends_live_pages_with_a_code(small_bundle: Path) -> None:
    with ServedCommand(small_bundle, "--device", "cpu", "--detector", "whole") as command:
        with connect(f"{command.url.replace('http', 'ws')}/v1/live", proxy=None) as page:
            assert json.loads(page.recv(PATIENCE_S))["kind"] == "hello"
            with ThreadPoolExecutor(1) as pool:
                ending = pool.submit(command.end)
                with pytest.raises(ConnectionClosed) as caught:
                    while True:
                        page.recv(PATIENCE_S)
                assert ending.result()[0] == 143
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012


@pytest.mark.parametrize(("host", "refused"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_socket_of_systemd_needs_a_token_too(monkeypatch: pytest.MonkeyPatch, host: str, refused: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as handed:
        handed.bind((host, 0))
        monkeypatch.setattr(server, "inherited_socket", lambda: handed)
        address = Address("127.0.0.1", 0)
        assert listening_socket(address, has_token=True) is handed
        if refused:
            with pytest.raises(InputError, match=r"0\.0\.0\.0 is reached from other machines: give --token-file"):
                listening_socket(address, has_token=False)
        else:
            assert listening_socket(address, has_token=False) is handed


def test_answers_leave_at_once() -> None:
    """Nagle's algorithm is off: asyncio has to know that a socket is TCP, or each answer waits 40 ms."""
    with listening_socket(Address("127.0.0.1", 0), has_token=False) as bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_what_the_command_refuses(small_bundle: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from emo_edge.cli.serving.command import main

    (tmp_path / "token").write_text("short")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options, code, said in (
            (["--host", "0.0.0.0"], 2, "--token-file"),
            (["--host", "0.0.0.0", "--token-file", str(tmp_path / "token")], 4, "at least 16"),
            (["--token-file", "/dev/zero"], 4, "(a device); name a file"),
            (["--token-file", str(tmp_path)], 4, "Is a directory"),
            (["--tls-cert", "x"], 2, "go together"),
            (["--tls-cert", "x", "--tls-key", "y"], 4, "no such file"),
            (["--port", port], 4, "another --port"),
            (["--labels", "nonsense"], 4, "nonsense"),
            (["--allow-image-host", "https://a.example/"], 4, "give a host"),
            (["--source", "a=0", "--source", "a=1"], 4, "two sources are called a"),
            (["--source", "rtsp:"], 4, "such file"),
        ):
            done = CliRunner().invoke(main, [str(small_bundle), "--device", "cpu", "--detector", "whole", *options])
            assert done.exit_code == code, (options, done.output)
            assert said in done.output, options


def test_nothing_of_a_picture_is_written(small_bundle: Path, tmp_path: Path) -> None:
    """A form of some megabytes in an empty home, with every temporary folder below it."""
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)
    coded = cv2.imencode(".png", noise)[1].tobytes()
    body, headers = form({}, [("one.png", coded), ("two.png", coded)])
    places = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")
    home = {**os.environ, **dict.fromkeys(places, str(tmp_path))}
    with ServedCommand(small_bundle, "--device", "cpu", "--detector", "whole", "-v", environment=home) as command:
        assert ask(f"{command.url}/v1/readings", body, headers).status == 200
        opened = [os.readlink(link) for link in Path(f"/proc/{command.pid}/fd").iterdir() if link.is_symlink()]
        _, said = command.end()
    assert not [name for name in opened if name.startswith(str(tmp_path)) and "emo-edge" not in name]
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} <= {"emo-edge"}
    assert all(coded[:64] not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "POST /v1/readings 200" in said
    assert "one.png" not in said


def test_a_form_is_kept_in_memory() -> None:
    content, headers = form({}, [("large.png", bytes(4 << 20))])

    async def parts() -> Any:
        async def stream() -> AsyncGenerator[bytes, None]:
            yield content

        return await InMemoryParser(Headers(headers), stream()).parse()

    (_, file), *_ = asyncio.run(parts()).multi_items()
    assert file.size == 4 << 20
    assert not file.file._rolled, "the standard library's word for: written to a disk"
    file.file.close()


def test_a_missing_extra_is_named() -> None:
    code = f"import sys; sys.modules['starlette'] = None; {RUN}"
    done = subprocess.run(code_command(code, "serve", "emo-tiny"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == 'Error: starlette is not installed. Run: pip install "emo-edge[serve]"\n'


def test_the_server_brings_no_torch() -> None:
    code = (
        "import sys, emo_edge.cli.serving.command; "
        "print([name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run(code_command(code), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
