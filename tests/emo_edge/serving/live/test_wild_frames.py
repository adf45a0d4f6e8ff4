"""WebSocket frames that nobody thought of, a short run of `emo_edge.benchmarks.serving.live_fuzz`."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from emo_edge.benchmarks.serving.fuzz import fuzz
from emo_edge.benchmarks.serving.live_fuzz import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LARGE,
    PING,
    TEXT,
    Frame,
    admitted,
    conversations,
    converse,
    read_one,
)
from tests.emo_edge.serving.test_wild_requests import answering

COUNT = 60
OPEN = Frame(BINARY, b"", announced=70_000)
"""Takes the client's close for its payload, so that the server ends the connection."""
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def test_no_frame_meets_a_fault(
    in_process: Callable[..., Any], drawing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    codes = Counter[int]()
    with in_process() as server:
        address = urlsplit(server.url).netloc

        def one(frames: list[Frame]) -> None:
            codes[admitted(address, frames)] += 1

        one([Frame(BINARY, b"x", announced=LARGE)])
        fuzz(conversations(drawing), COUNT, 5, one)
        read_one(address, drawing)
    assert {1000, 1002, 1009} <= set(codes)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([Frame(BINARY, b"x", is_masked=False)], 1002),
        ([Frame(BINARY, b"x", reserved=4)], 1002),
        ([Frame(3, b"")], 1002),
        ([Frame(CONTINUATION, b"x")], 1002),
        ([Frame(PING, b"x" * 126)], 1002),
        ([Frame(TEXT, b"\xff"), OPEN], 1007),
        ([Frame(TEXT, b"\xff")], 1000),
        ([Frame(TEXT, b"no JSON"), OPEN], 1008),
        ([Frame(BINARY, b"x", announced=LARGE)], 1009),
        ([Frame(CLOSE, struct.pack("!H", 1000))], 1000),
        ([Frame(BINARY, b"x", is_last=False)], 1002),
    ],
)
def test_a_wrong_frame_has_its_code(
    in_process: Callable[..., Any], caplog: pytest.LogCaptureFixture, frames: list[Frame], code: int
) -> None:
    with in_process() as server:
        assert converse(urlsplit(server.url).netloc, frames) == code
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "500 Internal"),
        (SWITCHED + b"\x88\x02" + struct.pack("!H", 1011), "code 1011"),
        (SWITCHED + b'\x81\x11{"kind": "other"}', "other"),
        (SWITCHED + b"\x83\x00", "opcode 3"),
        (SWITCHED, "no close"),
    ],
)
def test_a_fault_is_a_failure(answer: bytes, message: str) -> None:
    with answering(answer) as address, pytest.raises(AssertionError, match=message):
        converse(address, [])
