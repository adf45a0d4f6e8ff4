"""``POST /v1/profile``: another profile reads from then on, readings under way go on, and what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.bundle.manifest import MANIFEST_NAME
from tests.served import ServedCommand, ask

PNG = {"Content-Type": "image/png"}
READERS = 4


def changed(url: str, content: Any) -> Any:
    return ask(f"{url}/v1/profile", json.dumps(content).encode(), {"Content-Type": "application/json"})


def profile_of(url: str, drawing: bytes) -> str:
    answer = ask(f"{url}/v1/readings", drawing, PNG)
    assert answer.status == 200, answer.body
    return str(answer.json["results"][0]["readings"][0]["settings"]["profile"])


def test_readings_go_on_while_the_profile_changes(server_url: str, drawing: bytes) -> None:
    info = ask(f"{server_url}/v1/info").json
    before, other = info["profile"], next(name for name in info["profiles"] if name != info["profile"])
    profiles, ended = set[str](), threading.Event()

    def read() -> None:
        while not ended.is_set():
            profiles.add(profile_of(server_url, drawing))

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        assert changed(server_url, {"profile": other}).json == {"profile": other}
        assert profile_of(server_url, drawing) == other
        assert ask(f"{server_url}/v1/info").json["profile"] == other
    finally:
        assert changed(server_url, {"profile": before}).status == 200
        ended.set()
        for reader in readers:
            reader.join()
    assert profiles <= {before, other}
    assert profile_of(server_url, drawing) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"profile": "huge"}, "`profile` is one of "),
        ({"profile": None}, "`profile` is one of "),
        ({"profile": ["small"]}, "`profile` is one of "),
        ({}, "the body is"),
        ({"profile": "small", "labels": "x"}, "the body is"),
        ("small", "the body is"),
    ],
)
def test_what_is_refused(server_url: str, content: Any, message: str) -> None:
    answer = changed(server_url, content)
    assert answer.status == 400
    assert answer.json["error"]["param"] == "profile"
    assert message in answer.json["error"]["message"]


def test_a_fixed_profile_is_the_only_one(in_process: Callable[..., Any]) -> None:
    with in_process() as server:
        info = ask(f"{server.url}/v1/info").json
        assert info["profiles"] == [info["profile"]]
        assert changed(server.url, {"profile": info["profile"]}).status == 200
        assert changed(server.url, {"profile": "other"}).status == 400


def test_a_profile_that_cannot_be_opened_leaves_the_one_before(in_process: Callable[..., Any], drawing: bytes) -> None:
    def fail(name: str) -> Any:
        raise RuntimeError("no memory")

    with in_process() as server:
        profiles = server.service.pipeline.manifest.profiles
        current = server.service.pipeline.engines.profile_name
        profiles["other"] = profiles[current]
        server.service.open_profile = fail
        assert changed(server.url, {"profile": "other"}).status == 500
        assert not server.service.is_changing
        assert profile_of(server.url, drawing) == current


def test_a_file_that_changed_under_the_server_reaches_no_engine(small_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(small_bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / MANIFEST_NAME).read_text())
    manifest["profiles"]["other"] = manifest["profiles"][manifest["default_profile"]]
    (bundle / MANIFEST_NAME).write_text(json.dumps(manifest))
    graph = next(bundle.glob("*.onnx"))
    with ServedCommand(bundle, "--device", "cpu", "--detector", "whole") as server:
        content = graph.read_bytes()
        graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        answer = changed(server.url, {"profile": "other"})
        assert answer.status == 422
        assert f"{graph.name}: its content is not what the manifest's sha256 says" in answer.json["error"]["message"]
        graph.write_bytes(content)
        assert changed(server.url, {"profile": "other"}).json == {"profile": "other"}
