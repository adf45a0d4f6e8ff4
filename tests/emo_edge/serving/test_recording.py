"""Recordings of a running server: what REST, the chat and a WebSocket read; nothing without one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.serving.engine.recorder import EVENTS, READINGS, Recorder
from tests.served import ask


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(url: str, drawing: bytes) -> Any:
    answer = ask(f"{url}/v1/readings", drawing, {"Content-Type": "image/jpeg"})
    assert answer.status == 200
    return json.loads(answer.body)["results"][0]


def test_a_reading_is_recorded_as_its_client_got_it(
    in_process: Callable[..., Any], drawing: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    with in_process(record=Recorder(folder, pictures=True)) as server:
        result = read(server.url, drawing)
        info = json.loads(ask(f"{server.url}/v1/info").body)
    assert info["recording"] == "pictures" and str(folder) not in json.dumps(info)
    (line,) = lines(folder / READINGS)
    assert (line["route"], line["result"]) == ("/v1/readings", result)
    (name,) = line["pictures"]
    assert (folder / name).read_bytes() == drawing


def test_live_events_are_recorded_with_their_frames(
    in_process: Callable[..., Any], drawing: bytes, tmp_path: Path
) -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    folder = tmp_path / "kept"
    with (
        in_process(record=Recorder(folder, pictures=True)) as server,
        connect(f"{server.url.replace('http', 'ws')}/v1/live", proxy=None) as socket,
    ):
        json.loads(socket.recv())
        socket.send(drawing)
        while (event := json.loads(socket.recv()))["kind"] != "frame":
            pass
    written = lines(folder / EVENTS)
    assert event in [line["event"] for line in written]
    assert {line["connection"][:5] for line in written} == {"live-"}
    (frame,) = [line for line in written if line["event"]["kind"] == "frame"]
    assert (folder / frame["pictures"][0]).read_bytes().startswith(b"\xff\xd8")


def test_the_chat_is_recorded_and_no_token_is(in_process: Callable[..., Any], drawing: bytes, tmp_path: Path) -> None:
    folder, token = tmp_path / "kept", "secret-of-this-server"
    url = f"data:image/jpeg;base64,{base64.b64encode(drawing).decode()}"
    with in_process(token=token, record=Recorder(folder, pictures=False)) as server:
        content = [{"type": "image_url", "image_url": {"url": url}}]
        body = {"model": server.service.name, "messages": [{"role": "user", "content": content}]}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = ask(f"{server.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    (line,) = lines(folder / READINGS)
    assert line["route"] == "/v1/chat/completions"
    if answer.status == 200:
        assert line["result"]["readings"] == json.loads(answer.body)["emo_edge"]["readings"]
    assert token not in (folder / READINGS).read_text(encoding="utf-8")


def test_without_a_recording_nothing_is_written(
    in_process: Callable[..., Any], drawing: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with in_process() as server:
        read(server.url, drawing)
        assert json.loads(ask(f"{server.url}/v1/info").body)["recording"] == "off"
        assert server.service.recorder is None
    assert not list(tmp_path.iterdir())
