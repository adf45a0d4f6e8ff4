"""Readings that are refused before anything is parsed: the same answer as after it, and to plain requests alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from emo_edge.serving.access.early import EarlyRefusal, plain_request
from emo_edge.serving.access.entry import Entry
from emo_edge.serving.access.hosts import HostCheck
from emo_edge.serving.access.token import TokenCheck
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.engine.metrics import ServerMetrics
from tests.emo_edge.serving.test_server import raw
from tests.served import ask

TOKEN = "0123456789abcdef-secret"
BODY = b"picture"


def reading(*headers: str, path: str = "/v1/readings", host: str = "localhost", body: bytes = BODY) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(BODY)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def early(room: int = 0, token: TokenCheck | None = None) -> EarlyRefusal:
    entry = Entry(HostCheck("127.0.0.1", has_token=token is not None), token, 64, lambda: room, lambda: False)
    return EarlyRefusal(entry, ServerMetrics())


def headers_of(answer: bytes) -> dict[bytes, bytes]:
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = [line.partition(b": ")[::2] for line in lines]
    assert len(dict(pairs)) == len(pairs)
    return {name.lower(): value for name, value in pairs if name.lower() != b"date"}


def test_the_answer_is_that_of_the_usual_way(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(waiting=0)) as server:
        whole = reading("Connection: close", path="/v1/readings?labels=joy,fear")
        at_once, in_two = raw(server.url, whole), raw(server.url, whole[:90], whole[90:], wait_s=0.05)
        metrics = ask(f"{server.url}/metrics").body.decode()
    assert at_once.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"retry-after: 1\r\n" in at_once
    assert headers_of(at_once) == headers_of(in_two)
    assert at_once.partition(b"\r\n\r\n")[2] == in_two.partition(b"\r\n\r\n")[2]
    assert 'emo_edge_requests_total{route="/v1/readings",status="429"} 2.0' in metrics
    assert 'emo_edge_refused_total{reason="429"} 2.0' in metrics


@pytest.mark.parametrize(
    "request_bytes",
    [
        reading(body=BODY[:3]),
        reading(body=BODY + b"POST / HTTP/1.1"),
        reading("Content-Length: 7"),
        reading("Transfer-Encoding: chunked"),
        reading("Expect: 100-continue"),
        reading("Upgrade: websocket"),
        reading("X: a", " folded"),
        reading("X : a"),
        reading("X: a\x00b"),
        reading("No colon"),
        reading(path="/v1/readings/"),
        reading(path="/v1/readings x"),
        reading().replace(b"HTTP/1.1", b"HTTP/1.0"),
        reading().replace(b"POST", b"PUT"),
        reading().replace(b"Content-Length: 7", b"Content-Length: +7"),
        reading().replace(b"Content-Length: 7\r\n", b""),
        reading(f"X: {'a' * 20_000}"),
        reading(host="attacker.example"),
        reading("Host: localhost"),
        reading("Origin: http://attacker.example"),
        b"POST /v1/readings",
        b"",
    ],
)
def test_what_is_not_plain_goes_its_usual_way(request_bytes: bytes) -> None:
    assert early().answer(reading(), "http"), "the control"
    assert early().answer(request_bytes, "http") is None


def test_a_token_comes_before_the_refusal() -> None:
    refusing = early(token=TokenCheck(TOKEN))
    assert refusing.answer(reading(), "http") is None
    assert refusing.answer(reading("Authorization: Bearer wrong"), "http") is None
    assert refusing.answer(reading(f"Authorization: Bearer {TOKEN}"), "http")


def test_headers_are_as_asgi_has_them() -> None:
    scope = plain_request(reading("X-One:  two  "), "https")
    assert scope is not None
    assert (b"x-one", b"two") in scope["headers"]
    assert scope["path"] == "/v1/readings"


def test_readings_of_one_moment_are_counted_before_their_handlers_run() -> None:
    async def moment() -> list[bool]:
        refusing = early(room=2)
        first = [refusing.answer(reading(), "http") is None for _ in range(4)]
        await asyncio.sleep(0)
        return [*first, refusing.answer(reading(), "http") is None]

    assert asyncio.run(moment()) == [True, True, False, False, True]
