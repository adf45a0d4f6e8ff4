"""Cameras of the server: computed once for all viewers, only while somebody watches; what is lost is an event."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from emo_edge.errors import DeviceError, InputError
from emo_edge.inference.live.events import FrameEvent, LiveEvent, SourceEvent
from emo_edge.media.images import image_from_bytes
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.live import source_socket, sources
from emo_edge.serving.live.source_socket import WAITING, SocketViewer
from emo_edge.serving.live.sources import SourceFeed, jpeg, named_sources
from tests.emo_edge.serving.live.test_socket import PATIENCE_S, SCHEMA, closing, opened, received
from tests.made_videos import write
from tests.served import ask

TOKEN = "t" * 40


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at ten frames a second."""
    return write(tmp_path_factory.mktemp("source") / "door.mp4", [index / 10 for index in range(20)])


class Watcher:
    """A viewer that keeps all it gets."""

    def __init__(self) -> None:
        self.got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def frame(self, event: str, picture: bytes) -> None:
        self.got.put((json.loads(event)["index"], picture))

    def event(self, event: str) -> None:
        self.got.put(json.loads(event)["state"])

    def ended(self, reason: str) -> None:
        self.got.put(f"ended: {reason}")

    def next(self) -> Any:
        return self.got.get(timeout=PATIENCE_S)


class Script:
    """A source whose events a test hands over, one by one."""

    def __init__(self) -> None:
        self.opened, self.closed = 0, threading.Event()
        self.events: queue.SimpleQueue[LiveEvent | Exception | None] = queue.SimpleQueue()

    def __call__(self) -> Generator[LiveEvent, None, None]:
        self.opened += 1
        try:
            while (event := self.events.get(timeout=PATIENCE_S)) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed.set()

    def frame(self, index: int) -> None:
        image = np.full((48, 64, 3), index, np.uint8)
        self.events.put(FrameEvent("rtsp://a", index, 0, 0.0, 1.0, (), {}, {}, {}, image))

    def state(self, state: Any, reason: str = "") -> None:
        self.events.put(SourceEvent("rtsp://a", state, reason, 0.0))


def test_all_viewers_share_one_computation_and_nobody_is_none() -> None:
    script, viewers = Script(), [Watcher(), Watcher()]
    feed = SourceFeed("door", script, "rtsp://a")
    assert feed.to_dict() == {"name": "door", "state": "closed", "reason": "", "viewers": 0}
    assert script.opened == 0
    for viewer in viewers:
        feed.join(viewer)
    script.state("lost", "rtsp://a: no answer")
    script.frame(0)
    script.frame(1)
    for viewer in viewers:
        assert viewer.next() == "lost"
        assert [viewer.next()[0] for _ in range(2)] == [0, 1]
    assert script.opened == 1
    assert feed.to_dict() == {"name": "door", "state": "lost", "reason": "door: no answer", "viewers": 2}
    feed.leave(viewers[0])
    script.frame(2)
    assert viewers[1].next()[0] == 2
    assert viewers[0].got.empty()
    script.events.put(None)
    assert viewers[1].next() == "ended: the source has ended"
    script.closed.clear()
    feed.join(viewers[0])
    script.frame(3)
    assert viewers[0].next()[0] == 3
    assert script.opened == 2
    script.events.put(None)
    feed.close()


def test_without_viewers_a_source_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LINGER_S", 0.0)
    script, viewer = Script(), Watcher()
    feed = SourceFeed("door", script)
    feed.join(viewer)
    script.frame(0)
    assert viewer.next()[0] == 0
    feed.leave(viewer)
    script.frame(1)
    script.frame(2)
    assert script.closed.wait(PATIENCE_S)
    feed.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [(DeviceError("rtsp://a: gone"), "door: gone"), (RuntimeError("rtsp://user:secret@a"), "its log says why")],
)
def test_a_failure_ends_the_viewers_and_not_the_feed(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    script, viewer = Script(), Watcher()
    feed = SourceFeed("door", script, "rtsp://a")
    feed.join(viewer)
    script.events.put(error)
    assert said in viewer.next()
    assert "secret" not in caplog.text
    assert ("RuntimeError" in caplog.text) == isinstance(error, RuntimeError)
    feed.join(viewer)
    script.frame(0)
    assert viewer.next()[0] == 0
    script.events.put(None)
    feed.close()


def test_viewers_get_events_of_the_schema_with_their_frames(in_process: Any, video: Path) -> None:
    with in_process(sources={"door": str(video)}) as server, opened(server.url, "/v1/live/door") as socket:
        hello = received(socket)
        assert hello["source"] == {"name": "door", "state": "closed", "reason": "", "viewers": 0}
        with opened(server.url, "/v1/live/door?pictures=false") as other:
            assert received(other)["kind"] == "hello"
            assert all(isinstance(other.recv(PATIENCE_S), str) for _ in range(5))
        messages = list[Any]()
        while not (messages and isinstance(messages[-1], bytes)):
            messages.append(socket.recv(PATIENCE_S))
        event = received(socket)
        assert event["kind"] == "frame"
        assert image_from_bytes(messages[-1], "frame").shape[:2] == tuple(reversed(event["size"]))
        events = [*map(json.loads, messages[:-1]), event]
        for one in events:
            jsonschema.validate(one, SCHEMA)
            assert one["source"] == "door"
        assert ask(f"{server.url}/v1/sources").json["sources"][0]["viewers"] == 1
        code, reason = closing(socket)
        assert (code, reason) == (1011, "the source has ended")


def test_a_lost_source_is_an_event_without_address_or_password(in_process: Any) -> None:
    with (
        in_process(sources={"cam": "rtsp://user:secret@127.0.0.1:9/x"}) as server,
        opened(server.url, "/v1/live/cam") as socket,
    ):
        messages = [received(socket) for _ in range(3)]
        assert [message.get("state") for message in messages[1:]] == ["opening", "lost"]
        shown = json.dumps(messages) + ask(f"{server.url}/v1/sources").body.decode()
        assert "refused" in shown
        assert "secret" not in shown and "user" not in shown and "rtsp://" not in shown
        socket.send("x")
        assert closing(socket) == (1008, "a viewer sends nothing")


def test_who_may_watch(in_process: Any, video: Path) -> None:
    with in_process(ServerLimits(viewers=0), sources={"door": str(video)}) as server:
        with opened(server.url, "/v1/live/none") as socket:
            assert closing(socket)[0] == 4404
        with opened(server.url, "/v1/live/door") as socket:
            assert closing(socket)[0] == 1013
    with in_process(token=TOKEN, sources={"door": str(video)}) as server:
        with pytest.raises(Exception, match="403"), opened(server.url, "/v1/live/door"):
            pass
        assert ask(f"{server.url}/v1/sources").status == 401
        with opened(server.url, "/v1/live/door", additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
            assert received(socket)["kind"] == "hello"


class SlowSocket:
    """A connection whose first event never leaves."""

    def __init__(self) -> None:
        self.query_params: dict[str, str] = {}
        self.sent, self.release = list[Any](), asyncio.Event()

    async def send_text(self, text: str) -> None:
        await self.release.wait()
        self.sent.append(text)

    send_bytes = send_text


def test_a_slow_viewer_gets_the_newest_frame_and_then_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        socket = SlowSocket()
        viewer = SocketViewer(socket, None, None)  # type: ignore[arg-type]
        sending = asyncio.ensure_future(viewer._send_all())
        viewer.event("first")
        await asyncio.sleep(0)
        for number in range(50):
            viewer.frame(f"frame {number}", b"picture")
        await asyncio.sleep(0)
        socket.release.set()
        while len(socket.sent) < 3:
            await asyncio.sleep(0)
        assert socket.sent == ["first", b"picture", "frame 49"]
        for number in range(WAITING + 1):
            viewer.event(str(number))
        assert await sending == (1008, "the connection is too slow for this source")
        monkeypatch.setattr(source_socket, "SEND_S", 0.01)
        viewer = SocketViewer(SlowSocket(), None, None)  # type: ignore[arg-type]
        viewer.event("never sent")
        assert (await viewer._send_all())[0] == 1008

    asyncio.run(run())


def test_names() -> None:
    named = named_sources(["rtsp://a?x=1", "door=rtsp://b?x=1", "0"])
    assert named == {"source-1": "rtsp://a?x=1", "door": "rtsp://b?x=1", "source-3": "0"}
    with pytest.raises(InputError, match="two sources are called door"):
        named_sources(["door=0", "door=1"])


def test_frames_are_small() -> None:
    assert image_from_bytes(jpeg(np.zeros((1080, 1920, 3), np.uint8)), "x").shape == (360, 640, 3)


def test_a_picture_is_no_source(in_process: Any, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="is an image"), in_process(sources={"a": str(picture)}):
        pass


def test_the_number_of_a_camera_hides_no_digit() -> None:
    feed = SourceFeed("door", lambda: iter(()), "0")  # type: ignore[arg-type, return-value]
    assert feed._without_address("nothing came for 10 s; opened again in 0.5 s") == (
        "nothing came for 10 s; opened again in 0.5 s"
    )
    feed.close()


def test_a_source_that_gives_nothing_does_not_hold_the_end_up() -> None:
    stopped, begun = threading.Event(), threading.Event()

    def silent() -> Generator[LiveEvent, None, None]:
        begun.set()
        assert stopped.wait(PATIENCE_S)
        yield from ()

    feed = SourceFeed("door", silent, "camera", stopped.set)
    feed.join(Watcher())
    assert begun.wait(PATIENCE_S)
    feed.close()
    assert not feed._thread.is_alive()
