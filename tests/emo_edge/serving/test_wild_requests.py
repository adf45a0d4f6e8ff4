"""Requests that nobody thought of, a short run of `emo_edge.benchmarks.serving.fuzz`; what it is for, it finds."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from emo_edge.benchmarks.serving.fuzz import check, fuzz, requests
from tests.served import ask

COUNT = 200


def test_no_request_meets_a_fault(server_url: str, drawing: bytes) -> None:
    statuses = Counter[int]()
    address = urlsplit(server_url).netloc

    def one(sent: bytes) -> None:
        statuses[check(address, sent)] += 1

    fuzz(requests(drawing, "emo-tiny"), COUNT, 7, one)
    assert {200, 400, 404, 415} <= set(statuses)
    assert ask(f"{server_url}/readyz").status == 200


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Serve one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)
                # With bytes left to read, a close would be a reset.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n{}", "500 after"),
        (b"Traceback (most recent call last)", "no HTTP"),
        (b'HTTP/1.1 400 Bad Request\r\n\r\n{"error": {"message": "", "type": "x", "code": "x"}}', "message"),
    ],
)
def test_a_fault_is_a_failure(answer: bytes, said: str) -> None:
    with answering(answer) as address, pytest.raises(AssertionError, match=said):
        check(address, b"GET / HTTP/1.1\r\n\r\n")


def test_an_answer_of_its_own_shape_passes() -> None:
    with answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as address:
        assert check(address, b"GET / HTTP/1.1\r\n\r\n") == 503
