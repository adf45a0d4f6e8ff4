"""OpenAI's API with OpenAI's own client: labels with their distribution, answers, streams; what is refused."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emo_edge.errors import EmoEdgeError
from emo_edge.serving.routes.chat import ReaderGoneError
from tests.served import ask

openai = pytest.importorskip("openai", reason='needs the client: pip install "emo-edge[dev]"')
JSON = {"Content-Type": "application/json"}


def picture_part(data: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}}


def message(data: bytes, text: str = "") -> list[dict[str, Any]]:
    words = [{"type": "text", "text": text}] if text else []
    return [{"role": "user", "content": [*words, picture_part(data)]}]


@pytest.fixture(scope="module")
def client(server_url: str) -> Iterator[Any]:
    # A proxy of the environment is none of the test's.
    transport = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{server_url}/v1", api_key="none", http_client=transport, max_retries=0) as opened:
        yield opened


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["emo-tiny", "emo-tiny:answer"]


def test_a_label_has_its_distribution(client: Any, server_url: str, drawing: bytes) -> None:
    done = client.chat.completions.create(model="emo-tiny", messages=message(drawing), logprobs=True, top_logprobs=3)
    reading = ask(f"{server_url}/v1/readings", drawing, {"Content-Type": "image/png"}).json["results"][0]["readings"][0]
    choice = done.choices[0]
    assert choice.message.content == reading["label"]
    (token,) = choice.logprobs.content
    assert [math.exp(one.logprob) for one in token.top_logprobs] == pytest.approx(
        sorted(reading["probabilities"].values(), reverse=True)[:3], abs=1e-4
    )
    assert token.token == reading["label"]
    assert done.emo_edge["readings"][0]["probabilities"] == pytest.approx(reading["probabilities"], abs=1e-4)


def test_a_streamed_label(client: Any, drawing: bytes) -> None:
    chunks = list(client.chat.completions.create(model="emo-tiny", messages=message(drawing), stream=True))
    plain = client.chat.completions.create(model="emo-tiny", messages=message(drawing))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_an_answer_streams_as_it_is_written(client: Any, drawing: bytes) -> None:
    asked = {"model": "emo-tiny:answer", "messages": message(drawing, "How old is this person?"), "max_tokens": 24}
    plain = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1, "it streams"
    assert "".join(pieces).strip() == plain.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens > 0
    assert plain.emo_edge["readings"][0]["answers"] == {"How old is this person?": plain.choices[0].message.content}


def test_an_answer_that_is_cut_says_so(client: Any, drawing: bytes) -> None:
    asked = {"model": "emo-tiny:answer", "messages": message(drawing), "max_tokens": 2}
    assert client.chat.completions.create(**asked).choices[0].finish_reason == "length"
    *_, last = client.chat.completions.create(**asked, stream=True)
    assert last.choices[0].finish_reason == "length"


def test_a_stream_that_is_left_ends_its_answer(client: Any, server_url: str, drawing: bytes) -> None:
    assert issubclass(ReaderGoneError, EmoEdgeError), "the engine logs a fault for any other"
    stream = client.chat.completions.create(
        model="emo-tiny:answer", messages=message(drawing), max_tokens=512, stream=True
    )
    next(iter(stream))
    stream.close()
    assert ask(f"{server_url}/v1/readings", drawing, {"Content-Type": "image/png"}).status == 200


def body(**changes: Any) -> dict[str, Any]:
    content = {"model": "emo-tiny", "messages": message(b"x"), **changes}
    return {name: value for name, value in content.items() if value is not None}


REFUSED = [
    (body(model="gpt-9"), 404, "model", "emo-tiny:answer"),
    (body(tools=[]), 400, "tools", "not supported"),
    (body(n=2), 400, "n", "one answer"),
    (body(temperature=0.5), 400, "temperature", "emo-tiny:answer"),
    (body(model="emo-tiny:answer", logprobs=True), 400, "logprobs", "the model emo-tiny"),
    (body(model="emo-tiny:answer", temperature=9), 400, "temperature", "from 0 to 2"),
    (body(model="emo-tiny:answer", max_tokens=0), 400, "max_tokens", "from 1 to"),
    (body(model="emo-tiny:answer", max_tokens=2, max_completion_tokens=2), 400, "max_tokens", "one of"),
    (body(model="emo-tiny:answer", seed=1.5), 400, "seed", "whole number"),
    (body(top_logprobs=3), 400, "top_logprobs", "goes with"),
    (body(logprobs=True, top_logprobs=True), 400, "top_logprobs", "whole number"),
    (body(stream="yes"), 400, "stream", "true or false"),
    (body(stream_options={"include_usage": True}), 400, "stream_options", "stream"),
    (body(messages=[]), 400, "messages", "one message"),
    (body(messages=[*message(b"x"), *message(b"x")]), 400, "messages", "one message"),
    (body(messages=[{"role": "system", "content": "x"}]), 400, "messages[0]", "role"),
    (body(messages=[{"role": "user", "content": "x"}]), 400, "messages[0].content", "image_url"),
    (body(messages=[{"role": "user", "content": []}]), 400, "messages[0].content", "one picture"),
    (body(messages=[{"role": "user", "content": [picture_part(b"x")] * 2}]), 400, "messages[0].content", "one picture"),
    (body(messages=message(b"x", "Is he happy?")), 400, "messages[0].content", "emo-tiny:answer"),
    (body(messages=message(b"x", "word " * 1000), model="emo-tiny:answer"), 400, "messages[0].content", "4000"),
    (body(messages=message(b"x")), 422, None, "not an image"),
]


@pytest.mark.parametrize(("content", "status", "param", "said"), REFUSED)
def test_what_is_refused(server_url: str, content: dict[str, Any], status: int, param: str | None, said: str) -> None:
    answer = ask(f"{server_url}/v1/chat/completions", json.dumps(content).encode(), JSON)
    assert answer.status == status, answer.body
    error = answer.json["error"]
    assert error["param"] == param
    assert said in error["message"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/private",
        "https://user:secret@example.com/a.png",
        "file:///etc/passwd",
        "//169.254.169.254/latest",
        "data:text/html;base64,eA==",
        "data:image/png,x",
        "data:image/png;base64,%%%",
        "DATA:image/png;base64,eA==",
    ],
)
def test_no_address_is_ever_fetched(server_url: str, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    content = body(messages=[{"role": "user", "content": [part]}])
    answer = ask(f"{server_url}/v1/chat/completions", json.dumps(content).encode(), JSON)
    assert answer.status == 400
    assert answer.json["error"]["param"] == "messages[0].content[0].image_url.url"
    assert b"secret" not in answer.body


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b"nul", b"[" * 100_000, b'{"n": NaN}', b"\xff"])
def test_a_body_that_is_no_object(server_url: str, sent: bytes) -> None:
    answer = ask(f"{server_url}/v1/chat/completions", sent, JSON)
    assert answer.status == 400
    assert "JSON" in answer.json["error"]["message"]


def test_a_picture_without_a_face_is_refused(server_url: str) -> None:
    import cv2
    import numpy as np

    _, grey = cv2.imencode(".png", np.full((200, 200, 3), 90, np.uint8))
    answer = ask(f"{server_url}/v1/chat/completions", json.dumps(body(messages=message(grey.tobytes()))).encode(), JSON)
    assert answer.status == 422
    assert "no face" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "text", "status"),
    [
        ({"model": "{name}:answer"}, "", 404),
        ({"model": "emo-tiny"}, "", 404),
        ({"max_tokens": 3}, "", 400),
        ({}, "Why?", 400),
    ],
)
def test_a_network_of_labels_advises_no_answers(
    in_process: Callable[..., Any],
    label_bundle: Path,
    drawing: bytes,
    fields: dict[str, Any],
    text: str,
    status: int,
) -> None:
    with in_process(bundle=label_bundle) as server:
        name = server.service.name
        fields = {key: value.format(name=name) if isinstance(value, str) else value for key, value in fields.items()}
        body = {"model": name, "messages": message(drawing, text), **fields}
        answer = ask(f"{server.url}/v1/chat/completions", json.dumps(body).encode(), JSON)
    assert answer.status == status
    said = answer.json["error"]["message"]
    assert ":answer" not in said
    assert "answers no questions" in said or "leave the text out" in said
