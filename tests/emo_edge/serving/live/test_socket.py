"""``WS /v1/live``: events of the schema, labels that change, pictures that cannot be read, ends with their codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import emo_edge
from emo_edge.assets.packaged import packaged_samples
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.live.socket import PROTOCOL
from tests.served import ask

SCHEMA = json.loads((Path(emo_edge.__file__).parent / "schemas" / "live-event-1.json").read_text(encoding="utf-8"))
PATIENCE_S = 60
FRAMES, MOST_FRAMES = 8, 200
GAP_S = 0.05


def opened(url: str, path: str = "/v1/live", **options: Any) -> ClientConnection:
    return connect(url.replace("http", "ws", 1) + path, proxy=None, subprotocols=[PROTOCOL], **options)  # type: ignore[list-item]


def received(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(PATIENCE_S))


def until(socket: ClientConnection, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the next message of a kind, and those before it."""
    before: list[dict[str, Any]] = []
    while True:
        content = received(socket)
        if content["kind"] == kind:
            return content, before
        before.append(content)


def closing(socket: ClientConnection) -> tuple[int, str]:
    """Return code and reason with which the server ends a connection."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            socket.recv(PATIENCE_S)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_pictures_give_events_with_ids_and_labels(server_url: str, drawing: bytes) -> None:
    with opened(server_url) as socket:
        assert socket.subprotocol == PROTOCOL
        hello = received(socket)
        assert hello["kind"] == "hello"
        assert len(hello["labels"]) == 7
        assert "never seen a photograph" in hello["purpose"]
        frames, others = list[dict[str, Any]](), list[dict[str, Any]]()
        while len(frames) < FRAMES or not (frames[-1]["faces"] and frames[-1]["faces"][0]["reused"]):
            assert len(frames) < MOST_FRAMES, "the same picture is not read again"
            socket.send(drawing)
            frame, before = until(socket, "frame")
            frames.append(frame)
            others += before
            time.sleep(GAP_S)
    for event in frames + others:
        jsonschema.validate(event, SCHEMA)
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert [event["state"] for event in others if event["kind"] == "source"] == ["opening", "playing"]
    (face,) = frames[-1]["faces"]
    assert face["id"] == 1
    reading = ask(f"{server_url}/v1/readings", drawing, {"Content-Type": "image/png"}).json["results"][0]["readings"][0]
    assert face["label"] == reading["label"]


def test_the_newest_picture_wins(server_url: str, drawing: bytes) -> None:
    with opened(server_url) as socket:
        received(socket)
        for _ in range(30):
            socket.send(drawing)
        frames = [until(socket, "frame")[0]]
        while frames[-1]["index"] < 29:
            frames.append(until(socket, "frame")[0])
        dropped = sum(frame["dropped"]["overtaken"] for frame in frames)
    assert len(frames) + dropped == 30


def test_labels_change_with_a_new_hello(server_url: str, drawing: bytes) -> None:
    with opened(server_url) as socket:
        received(socket)
        socket.send(json.dumps({"labels": ["joy", "fear"]}))
        assert until(socket, "hello")[0]["labels"] == ["joy", "fear"]
        socket.send(json.dumps({"labels": None}))
        assert len(until(socket, "hello")[0]["labels"]) == 7
        socket.send(json.dumps({"labels": ["joy", "fear"]}))
        assert until(socket, "hello")[0]["labels"] == ["joy", "fear"]
        face: dict[str, Any] = {}
        while not face.get("label"):
            socket.send(drawing)
            face = (until(socket, "frame")[0]["faces"] or [{}])[0]
            time.sleep(GAP_S)
        assert list(face["probabilities"]) == ["joy", "fear"]


def test_a_picture_that_cannot_be_read_is_refused_and_the_connection_goes_on(server_url: str, drawing: bytes) -> None:
    with opened(server_url) as socket:
        received(socket)
        socket.send(b"no picture")
        refused, _ = until(socket, "refused")
        assert refused["index"] == 0
        assert "not an image" in refused["reason"]
        socket.send(drawing)
        frame, _ = until(socket, "frame")
        assert frame["index"] == 1
        assert frame["dropped"]["damaged"] == 1


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[]", "{}", '{"labels": 3}', '{"labels": ["joy", 1]}', '{"labels": "no such set"}', "[" * 9999],
)
def test_a_text_that_no_client_should_send_ends_it(server_url: str, text: str) -> None:
    with opened(server_url) as socket:
        received(socket)
        socket.send(text)
        code, reason = closing(socket)
    assert code == 1008
    assert reason


def test_a_message_that_is_too_large_ends_it(server_url: str) -> None:
    codes = []
    # The server may close it before all is sent, and the client's own end is an error then, too.
    with suppress(ConnectionClosed), opened(server_url) as socket:
        received(socket)
        with suppress(ConnectionClosed):
            socket.send(bytes(2 * 1024 * 1024 + 1))
        codes.append(closing(socket)[0])
    assert codes == [1009]


def test_another_path_is_refused(server_url: str) -> None:
    with pytest.raises(Exception, match=r"HTTP 403|HTTP 404"):
        opened(server_url, "/v1/other").close()


def test_a_foreign_page_is_refused(server_url: str) -> None:
    with pytest.raises(Exception, match="HTTP 403"):
        opened(server_url, origin="http://example.com").close()


def test_more_pages_than_may_be_live_wait(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(live_connections=1)) as server, opened(server.url) as first:
        received(first)
        with opened(server.url) as second:
            code, reason = closing(second)
        assert code == 1013
        assert "1 pages" in reason
        assert server.service.live_connections == 1
        first.close()
        deadline = time.monotonic() + PATIENCE_S
        while server.service.live_connections and time.monotonic() < deadline:
            time.sleep(0.01)
        with opened(server.url) as third:
            assert received(third)["kind"] == "hello"


def test_a_silent_client_is_closed(in_process: Callable[..., Any]) -> None:
    with in_process(ServerLimits(idle_s=0.2)) as server, opened(server.url) as socket:
        received(socket)
        code, reason = closing(socket)
    assert (code, reason) == (1008, "no picture for 0 s")


def test_an_engine_that_fails_ends_the_connection_and_not_the_server(
    in_process: Callable[..., Any], drawing: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    with in_process() as server:
        with monkeypatch.context() as patched, opened(server.url) as socket:
            patched.setattr(server.service.pipeline, "read", fail)
            received(socket)
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    socket.send(drawing)
                    time.sleep(GAP_S)
                    with suppress(TimeoutError):
                        socket.recv(0.001)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1011
        assert "failed" in caplog.text
        source = packaged_samples(1)[0].source
        assert isinstance(source, Path)
        answer = ask(f"{server.url}/v1/readings", source.read_bytes(), {"Content-Type": "image/png"})
        assert answer.status == 200
