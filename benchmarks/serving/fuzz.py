"""Requests that nobody thought of: ``python -m emo_edge.benchmarks.serving.fuzz BUNDLE --seed 1 --count 10000``.

Hypothesis draws requests of every route: valid ones with one thing changed, damaged pictures and forms, wild JSON,
heads that are no HTTP. A server may answer or refuse each of them, with an error in its own shape. A 500, an answer
that is none of HTTP, silence, or a server that ended is a failure; hypothesis makes it as small as it can. Needs
hypothesis.
"""

from __future__ import annotations

import base64
import json
import socket
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from emo_edge.benchmarks.serving.clients import server
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError, MissingExtraError

JSON_PATHS = ("/v1/chat/completions", "/v1/pulse", "/v1/profile")
PATHS = (
    *("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/info", "/v1/models", "/v1/sources"),
    *("/v1/samples/0", "/v1/samples/-1", "/v1/samples/99999999999999999999", "/v1/readings"),
    *JSON_PATHS,
    *("/v1/live", "/v1/live/x", "/page/main.js", "/page/..%2fmain.js", "/v1/../etc/passwd", "//", "/favicon.ico"),
)
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "GE T")
TYPES = (
    "image/png",
    "image/jpeg",
    "image/x",
    "application/octet-stream",
    "application/json",
    "text/plain",
    "",
    "\u00ff",
)
OPTIONS = ("labels", "task", "answer", "label", "clip", "face_facts", "demographics", "faces", "other")
VALUES = (
    "",
    "true",
    "1",
    "false",
    "largest",
    "all",
    "rafdb7",
    "expression",
    "judgement",
    "open",
    "happiness",
    "AU12",
    "joy,fear",
    ",",
    "a,a",
    "\0",
    "\u00e9,\U0001f600",
    "x" * 3000,
)
BOUNDARY = "frontier"
PATIENCE_S = 30.0
ALLOWED = {503, 504}
"""Statuses from 500 on that mean what they say."""


def requests(drawing: bytes, model: str) -> Any:
    """Return hypothesis' strategy of requests, each the bytes that a client sends.

    Args:
        drawing: a picture that can be read.
        model: name of the bundle.
    """
    from hypothesis import strategies as st

    text = st.text(max_size=40)
    pictures = st.one_of(st.just(drawing), st.binary(max_size=200), damaged(drawing))
    query = st.lists(st.tuples(st.sampled_from(OPTIONS), st.one_of(st.sampled_from(VALUES), text)), max_size=4)
    raw = st.builds(_raw_reading, pictures, st.sampled_from(TYPES), query)
    form = st.builds(_form_reading, st.lists(pictures, max_size=18), query, st.integers(0, 400), st.booleans())
    any_json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=8,
    )
    chat = st.builds(_changed_chat, pictures, st.just(model), st.integers(0, 14), any_json, st.booleans())
    pulse = st.fixed_dictionaries({"times": _short(any_json), "colours": _short(any_json)})
    wild = st.builds(_json_request, st.one_of(any_json, pulse), st.sampled_from(JSON_PATHS))
    path = st.one_of(st.sampled_from(PATHS), text.map(lambda value: "/" + quote(value)))
    other = st.builds(_request, st.sampled_from(METHODS), path, st.just(b""), st.sampled_from(TYPES))
    heads = st.builds(_broken_head, st.binary(max_size=100), st.sampled_from(PATHS))
    return st.one_of(raw, form, chat, wild, other, heads)


def damaged(data: bytes) -> Any:
    """Return hypothesis' strategy of a file with one stretch of it changed."""
    from hypothesis import strategies as st

    def damage(start: int, length: int, instead: bytes) -> bytes:
        return data[:start] + instead + data[start + length :]

    places = st.integers(0, len(data))
    return st.builds(damage, places, st.integers(0, 2000), st.binary(max_size=8))


def _request(method: str, target: str, body: bytes, media: str) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    kind = f"Content-Type: {media}\r\n" if media else ""
    length = f"Content-Length: {len(body)}\r\n" if body or method in ("POST", "PUT") else ""
    return f"{head}{kind}{length}\r\n".encode("utf-8", "surrogatepass") + body


def _raw_reading(picture: bytes, media: str, query: list[tuple[str, str]]) -> bytes:
    return _request("POST", f"/v1/readings?{urlencode(query, errors='replace')}", picture, media)


def _form_reading(files: list[bytes], fields: list[tuple[str, str]], cut: int, is_cut: bool) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode("utf-8", "replace")
        for name, value in fields
    ]
    for number, file in enumerate(files):
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{number}"\r\n\r\n'
        parts.append(head.encode() + file + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return _request(
        "POST", "/v1/readings", body[:-cut] if is_cut and cut else body, f"multipart/form-data; boundary={BOUNDARY}"
    )


def _changed_chat(picture: bytes, model: str, place: int, value: Any, answers: bool) -> bytes:
    part: dict[str, Any] = {"url": f"data:image/png;base64,{base64.b64encode(picture).decode()}"}
    image: dict[str, Any] = {"type": "image_url", "image_url": part}
    message: dict[str, Any] = {"role": "user", "content": [image]}
    content: dict[str, Any] = {"model": model + ":answer" * answers, "messages": [message]}
    content["max_tokens" if answers else "logprobs"] = 3 if answers else True
    fields = (
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "seed",
        "temperature",
        "top_p",
        "top_logprobs",
        "user",
    )
    if place < len(fields):
        content[fields[place]] = value
    else:
        targets = (part, image, message, message, content)
        names = ("url", "image_url", "content", "role", "unknown")
        targets[place - len(fields)][names[place - len(fields)]] = value
    return _json_request(content)


def _short(inner: Any) -> Any:
    from hypothesis import strategies as st

    number = st.floats() | st.integers()
    return st.one_of(
        inner, st.lists(number, max_size=4), st.lists(st.lists(number, max_size=4) | st.none(), max_size=4)
    )


def _json_request(content: Any, path: str = JSON_PATHS[0]) -> bytes:
    body = json.dumps(content).encode("utf-8", "surrogatepass")
    return _request("POST", path, body, "application/json")


def _broken_head(noise: bytes, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: ".encode() + noise + b"\r\n\r\n"


def ask(address: str, sent: bytes) -> tuple[int, bytes]:
    """Send bytes; return the status and the rest of the answer, 0 for a connection that the server closed."""
    host, port = address.rsplit(":", 1)
    received = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(sent)
            while block := connection.recv(1 << 16):
                received += block
        except (ConnectionResetError, BrokenPipeError):
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else (0, received)


def check(address: str, sent: bytes) -> int:
    """Send a request; return the status, raise AssertionError for an answer that no request may get."""
    status, body = ask(address, sent)
    assert status < 500 or status in ALLOWED, f"{status} after {sent[:500]!r}"
    assert status or not body, f"no HTTP: {body[:200]!r} after {sent[:500]!r}"
    if status >= 400 and body.startswith(b"{"):
        error = json.loads(body)["error"]
        assert error["message"] and error["type"] and error["code"], body
    return status


def fuzz(strategy: Any, count: int, seed: int, one: Callable[[Any], None]) -> None:
    """Give so many requests to ``one``, the same ones for a seed; raise the AssertionError of the smallest failure."""
    library: Any = import_module("hypothesis")  # its decorators have no types that fit one another
    chosen = library.settings(
        max_examples=count, deadline=None, database=None, derandomize=False, print_blob=False,
        suppress_health_check=list(library.HealthCheck),
    )  # fmt: skip
    library.seed(seed)(chosen(library.given(strategy)(one)))()


def require_hypothesis() -> None:
    """Raise MissingExtraError where hypothesis is not installed."""
    if find_spec("hypothesis") is None:
        raise MissingExtraError('hypothesis is not installed. Run: pip install "emo-edge[dev]"')


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(1), help="Number of requests.")
@click.option("--seed", default=1, show_default=True, help="Seed of the requests.")
def main(bundle: Path, count: int, seed: int) -> None:
    """Send requests that nobody thought of to ``emo-edge serve`` on BUNDLE; a 500 is a failure (exit 7)."""
    require_hypothesis()
    from emo_edge.benchmarks.serving.__main__ import pictures
    from emo_edge.bundle.reader import read_manifest

    drawing, statuses = pictures()[0], Counter[int]()
    with server(bundle, ["--device", "cpu"]) as running:
        before = running.resident_bytes()

        def one(sent: bytes) -> None:
            statuses[check(running.address, sent)] += 1

        try:
            fuzz(requests(drawing, read_manifest(bundle).name), count, seed, one)
        except AssertionError as error:
            raise EmoEdgeError(f"seed {seed}: {error}") from error
        status, _ = ask(running.address, _request("GET", "/readyz", b"", ""))
        memory = f"{before / 1e6:.0f} MB before, {running.resident_bytes() / 1e6:.0f} MB after"
    listed = ", ".join(f"{code or 'closed'}: {number}" for code, number in sorted(statuses.items()))
    click.echo(f"{sum(statuses.values())} requests, seed {seed}. {listed}. Ready after them: {status}. {memory}.")


if __name__ == "__main__":
    main()
