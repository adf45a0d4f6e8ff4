"""Pictures by address: allowed hosts alone, checked addresses alone, within bounds; a server of the test answers."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.errors import InputError
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.routes.remote_pictures import RemotePictures, checked_hosts, dialed, system_addresses
from tests.served import ask

PUBLIC = "93.184.215.14"
Page = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Web:
    """Names of a web of one's own, all of whose connections end at a server on the loopback."""

    def __init__(self, answers: dict[str, bytes | Page], names: dict[str, list[list[str]]] | None = None) -> None:
        self.answers, self.names = answers, names or {}
        self.asked, self.dialled, self.resolved = list[bytes](), list[tuple[str, int, str | None]](), list[str]()
        self._port = 0

    async def resolve(self, name: str, port: int) -> list[str]:
        self.resolved.append(name)
        known = self.names.get(name, [[PUBLIC]])
        return known[min(self.resolved.count(name), len(known)) - 1]

    async def dial(self, address: str, port: int, tls_name: str | None) -> Any:
        self.dialled.append((address, port, tls_name))
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        answer = self.answers[head.split()[1].decode()]
        try:
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def fetch(self, url: str, hosts: tuple[str, ...] = ("pictures.example",), **limits: float) -> bytes:
        async def run() -> bytes:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            async with server:
                self._port = server.sockets[0].getsockname()[1]
                bounds = ServerLimits(**limits)  # type: ignore[arg-type]
                return await RemotePictures(checked_hosts(hosts), bounds, self.resolve, self.dial).fetch(url, "url")

        return asyncio.run(run())

    def refusal(self, url: str, hosts: tuple[str, ...] = ("pictures.example",), **limits: float) -> str:
        with pytest.raises(ApiError) as caught:
            self.fetch(url, hosts, **limits)
        assert (caught.value.status, caught.value.param) == (400, "url")
        assert "secret" not in caught.value.message
        return caught.value.message


def ok(content: bytes, media: str = "image/png", *more: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", f"Content-Type: {media}", *more))
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def to(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_picture_of_an_allowed_host_is_fetched_from_the_address_that_was_checked() -> None:
    web = Web({"/a.png?key=secret": ok(b"picture")}, {"pictures.example": [[PUBLIC], ["127.0.0.1"]]})
    assert web.fetch("https://Pictures.Example/a.png?key=secret#x") == b"picture"
    assert web.resolved == ["pictures.example"], "a name is resolved once: what it means later counts for nothing"
    assert web.dialled == [(PUBLIC, 443, "pictures.example")]
    (head,) = web.asked
    assert head.startswith(b"GET /a.png?key=secret HTTP/1.1\r\nHost: Pictures.Example\r\n")
    assert b"cookie" not in head.lower() and b"authorization" not in head.lower()


def test_chunks_are_joined_and_a_body_may_end_with_the_connection() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"
    web = Web({"/chunks": chunks, "/open": b"HTTP/1.0 200 OK\r\n\r\npicture"})
    assert web.fetch("http://pictures.example/chunks") == web.fetch("http://pictures.example/open") == b"picture"


@pytest.mark.parametrize(
    "url",
    [
        *("http://other.example/", "http://pictures.example.other.example/", "http://pictures.example./"),
        *("http://pictures.example:8080/", "https://pictures.example:80/", "http://127.0.0.1/", "http://[::1]/"),
        *("http://2130706433/", "http://0177.0.0.1/", "http:///a", "http://pictures.example@other.example/"),
        *("https://user:secret@pictures.example/", "file:///etc/passwd", "ftp://pictures.example/", "http://[", "//x"),
        *("http://pictures.example:99999/", "http://pictures.example/\u00e9", "http://pictures.example/" + "a" * 5000),
        "http://pictures.example/a b\r\nX: y",
    ],
)
def test_no_other_address_is_connected_to(url: str) -> None:
    web = Web({})
    web.refusal(url)
    assert web.dialled == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"], ["::1"], ["224.0.0.1"], [PUBLIC, "192.168.0.1"], []],
)
def test_a_name_that_leads_to_a_private_address_is_refused(addresses: list[str]) -> None:
    web = Web({"/": ok(b"picture")}, {"pictures.example": [addresses]})
    assert "is no public host" in web.refusal("http://pictures.example/")
    assert web.dialled == []


def test_numbers_that_the_system_takes_for_an_address_are_checked_too() -> None:
    async def run(name: str) -> bytes:
        hosts = checked_hosts((name,))
        return await RemotePictures(hosts, ServerLimits(), system_addresses, dialed).fetch(f"http://{name}/", "url")

    for name in ("2130706433", "127.1", "0177.0.0.1", "0x7f000001", "localhost", "127.0.0.1"):
        with pytest.raises(ApiError, match=r"no public host|did not answer"):
            asyncio.run(run(name))


def test_every_redirect_is_checked_again() -> None:
    private = {"pictures.example": [[PUBLIC], ["127.0.0.1"]]}
    web = Web({"/": to("/next"), "/next": ok(b"picture")}, private)
    assert "is no public host" in web.refusal("http://pictures.example/")
    assert len(web.dialled) == 1
    web = Web({"/": to("//other.example/next"), "/next": ok(b"picture")})
    assert "fetches no pictures from 'other.example'" in web.refusal("http://pictures.example/")
    assert web.fetch("http://pictures.example/", ("pictures.example", "other.example")) == b"picture"
    for location in ("http://169.254.169.254/latest", "file:///etc/passwd", "http://localhost/", "gopher://x"):
        web = Web({"/": to(location, 307)})
        web.refusal("http://pictures.example/")
        assert len(web.dialled) == 1


def test_redirects_have_a_bound_and_keep_their_encryption() -> None:
    web = Web({"/": to("/")})
    assert "more than 3 times" in web.refusal("http://pictures.example/")
    assert len(web.dialled) == 4
    assert "from https to http" in Web({"/": to("http://pictures.example/x")}).refusal("https://pictures.example/")


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.wait({asyncio.ensure_future(reader.read(1))}, timeout=0.02)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not reader.at_eof():
        writer.write(bytes(65536))
        await writer.drain()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok(bytes(2000)), "at most 1,000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2000), "at most 1,000 bytes"),
        (endless, "at most 1,000 bytes"),
        (ok(b"<html>", "text/html"), "of no picture"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "did not answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "did not answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", "did not answer"),
        (b"SSH-2.0-OpenSSH\r\n", "did not answer"),
        (b"", "did not answer"),
    ],
)
def test_an_answer_that_is_none_of_a_picture(answer: bytes | Page, said: str) -> None:
    assert said in Web({"/": answer}).refusal("http://pictures.example/", body_bytes=1000)


@pytest.mark.parametrize("page", [slow, silent])
def test_a_slow_host_has_an_end(page: Page) -> None:
    assert "within 0.1 s" in Web({"/": page}).refusal("http://pictures.example/", fetch_s=0.1)


def test_a_port_is_allowed_with_its_host() -> None:
    web = Web({"/": ok(b"picture")})
    assert web.fetch("http://pictures.example:8080/", ("pictures.example:8080",)) == b"picture"
    assert web.dialled == [(PUBLIC, 8080, None)]


@pytest.mark.parametrize("host", ["https://a.example", "a.example/", "user@a.example", "", "a.example:0", "*", "[::1]"])
def test_what_is_no_host_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(InputError, match="give a host"):
        checked_hosts([host])


def test_a_certificate_has_to_be_the_hosts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    async def connect(address: str, port: int, **options: Any) -> Any:
        given.update(options, address=address)
        raise OSError

    monkeypatch.setattr(asyncio, "open_connection", connect)
    with pytest.raises(OSError):
        asyncio.run(dialed(PUBLIC, 443, "pictures.example"))
    assert (given["address"], given["server_hostname"]) == (PUBLIC, "pictures.example")
    assert given["ssl"].verify_mode == ssl.CERT_REQUIRED and given["ssl"].check_hostname


def test_the_chat_reads_a_picture_by_address(
    in_process: Any, tiny_bundle: Path, drawing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web = Web({"/a.png?key=secret": ok(drawing)})

    async def dial(address: str, port: int, tls_name: str | None) -> Any:
        server = await asyncio.start_server(web._serve, "127.0.0.1", 0)
        connection = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        server.close()
        return connection

    with in_process(bundle=tiny_bundle) as server:
        part = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png?key=secret"}}
        body = {"model": "emo-tiny", "messages": [{"role": "user", "content": [part]}]}
        path, sent = f"{server.url}/v1/chat/completions", json.dumps(body).encode()
        refused = ask(path, sent, {"Content-Type": "application/json"})
        assert refused.status == 400
        assert "fetches no pictures from 'pictures.example'" in refused.json["error"]["message"]
        limits = ServerLimits()
        server.service.remote = RemotePictures(frozenset({"pictures.example"}), limits, web.resolve, dial)
        done = ask(path, sent, {"Content-Type": "application/json"})
        assert done.status == 200, done.body
        assert done.json["emo_edge"]["readings"]
    assert "secret" not in caplog.text
