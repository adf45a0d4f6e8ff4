"""WebSocket messages that nobody thought of: ``python -m emo_edge.benchmarks.serving.live_fuzz BUNDLE --count 2000``.

Hypothesis draws what a client of ``/v1/live`` sends after its handshake: frames with any opcode, reserved bits, masked
or not, in pieces, with pictures, damaged pictures, text, JSON, and lengths up to 100 MB that nobody sends. The server
may answer, or end the connection with a code that says why. Code 1011, which is a fault of the server, a message that
is none of its own, silence, a traceback in its log, or a server that ended is a failure. Needs hypothesis.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from emo_edge.benchmarks.serving.clients import server
from emo_edge.benchmarks.serving.fuzz import damaged, fuzz, require_hypothesis
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = (CONTINUATION, TEXT, BINARY, BINARY, TEXT, CLOSE, PING, PONG, 3, 7, 11, 15)
FULL = 1013
ENDS = {1000, 1001, 1002, 1003, 1007, 1008, 1009, FULL}
"""Codes with which the server may end a connection."""
KINDS = {"hello", "frame", "refused", "source", "track", "label"}
LARGE = 100_000_000
TRACEBACK = "Traceback (most recent call last)"
PATIENCE_S = 30.0
MOMENT_S = 0.2
HANDSHAKE = (
    "GET /v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@dataclass(frozen=True)
class Frame:
    """A frame as a client sends it, right or wrong."""

    opcode: int
    payload: bytes
    is_last: bool = True
    reserved: int = 0
    is_masked: bool = True
    announced: int | None = None
    """Length in its head; None is that of the payload."""

    @property
    def is_unfinished(self) -> bool:
        """Return True if the server takes what follows for its payload."""
        return self.announced is not None and self.announced > len(self.payload)

    def encoded(self) -> bytes:
        """Return its bytes."""
        head = bytes([(0x80 if self.is_last else 0) | (self.reserved << 4) | self.opcode])
        length, mask = len(self.payload) if self.announced is None else self.announced, 0x80 * self.is_masked
        if length < 126:
            head += bytes([mask | length])
        elif length < 1 << 16:
            head += bytes([mask | 126]) + struct.pack("!H", length)
        else:
            head += bytes([mask | 127]) + struct.pack("!Q", length)
        # A mask of zeros is one, and leaves the payload as it is.
        return head + bytes(4 * self.is_masked) + self.payload


BYE = Frame(CLOSE, struct.pack("!H", 1000))


def conversations(drawing: bytes) -> Any:
    """Return hypothesis' strategy of what a client sends after the handshake: a few frames, each as `Frame`.

    Args:
        drawing: a picture that can be read.
    """
    from hypothesis import strategies as st

    text = st.text(max_size=20)
    any_json = st.recursive(
        st.none() | st.booleans() | st.integers() | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    labels = st.one_of(st.just(["joy", "fear"]), st.none(), any_json, st.lists(text, max_size=4))
    texts = st.one_of(any_json, labels.map(lambda value: {"labels": value})).map(
        lambda value: json.dumps(value, allow_nan=False).encode()
    )
    payloads = st.one_of(st.just(drawing), damaged(drawing), st.binary(max_size=130), texts, st.just(b"\x03\xe8"))
    plain = st.builds(Frame, st.sampled_from((BINARY, TEXT, PING)), payloads)
    pieces = st.builds(_in_pieces, st.sampled_from((BINARY, TEXT)), payloads, st.integers(1, 60), st.booleans())
    wrong = st.builds(
        Frame,
        st.sampled_from(OPCODES),
        payloads,
        st.booleans(),
        st.sampled_from((0, 0, 0, 1, 2, 4, 7)),
        st.sampled_from((True, True, True, False)),
        st.one_of(st.none(), st.none(), st.integers(0, 70_000), st.just(LARGE), st.just((1 << 63) + 5)),
    )
    messages = st.one_of(plain.map(lambda one: [one]), pieces, wrong.map(lambda one: [one]))
    return st.lists(messages, max_size=5).map(lambda several: [frame for one in several for frame in one])


def _in_pieces(opcode: int, payload: bytes, size: int, has_ping: bool) -> list[Frame]:
    """Return a message in several frames, perhaps with a ping between them."""
    step = max(size, len(payload) // 8 + 1)
    parts = [payload[start : start + step] for start in range(0, max(len(payload), 1), step)]
    frames = [
        Frame(CONTINUATION if number else opcode, part, is_last=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return [frames[0], Frame(PING, b"!"), *frames[1:]] if has_ping else frames


def converse(address: str, frames: Sequence[Frame]) -> int:
    """Send frames over a connection of their own; return the code of the server's close, 0 for one without.

    Raises AssertionError for what no client may get.
    """
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(HANDSHAKE.encode())
            received = connection.recv(1 << 16)
            assert not received or received.startswith(b"HTTP/1.1 101 "), f"{received[:100]!r} after the handshake"
            connection.sendall(b"".join(frame.encoded() for frame in [*frames, BYE]))
            is_open = any(frame.is_unfinished for frame in frames)
            received += _rest(connection, is_open=is_open)
        except (ConnectionResetError, BrokenPipeError):
            return 0  # it need not read to their end what it refuses
        except TimeoutError as error:
            raise AssertionError(f"silence after {frames!r}"[:500]) from error
    code = _checked(received.partition(b"\r\n\r\n")[2], frames)
    assert code or is_open, f"no close after {frames!r}"[:500]
    return code


def admitted(address: str, frames: Sequence[Frame]) -> int:
    """Return what `converse` does, once the server has room: connections before may still be ending."""
    until_s = time.monotonic() + PATIENCE_S
    while (code := converse(address, frames)) == FULL and time.monotonic() < until_s:
        time.sleep(MOMENT_S / 10)
    return code


def _rest(connection: socket.socket, *, is_open: bool) -> bytes:
    """Return all that the server sends; a conversation that has no end of its own is ended after a moment."""
    received = b""
    if is_open:
        connection.settimeout(MOMENT_S)
        with suppress(TimeoutError):
            while block := connection.recv(1 << 16):
                received += block
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(PATIENCE_S)
    while block := connection.recv(1 << 16):
        received += block
    return received


def _checked(data: bytes, frames: Sequence[Frame]) -> int:
    """Check what the server sent; return the code of its close."""
    while data:
        opcode, payload, data = _decoded(data)
        if opcode == CLOSE:
            code: int = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1000
            assert code in ENDS, f"code {code} {payload[2:]!r} after {frames!r}"[:500]
            return code
        if opcode == TEXT:
            assert json.loads(payload)["kind"] in KINDS, payload[:100]
        else:
            assert opcode in (PING, PONG), f"opcode {opcode} after {frames!r}"[:500]
    return 0


def _decoded(data: bytes) -> tuple[int, bytes, bytes]:
    """Return opcode and payload of the server's first frame, and what follows; a frame that was cut off is a close."""
    length, start = data[1] & 0x7F if len(data) > 1 else 0, 2
    if length == 126:
        length, start = struct.unpack("!H", data[2:4].ljust(2, b"\0"))[0], 4
    elif length == 127:
        length, start = struct.unpack("!Q", data[2:10].ljust(8, b"\0"))[0], 10
    if len(data) < start + length:
        return CLOSE, b"", b""
    return data[0] & 0x0F, data[start : start + length], data[start + length :]


def read_one(address: str, drawing: bytes) -> None:
    """Have one picture read as an ordinary client; raise EmoEdgeError where that fails."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(f"ws://{address}/v1/live", proxy=None) as connection:
            connection.send(drawing)
            while json.loads(connection.recv(PATIENCE_S))["kind"] != "frame":
                pass
    except (OSError, WebSocketException) as error:
        raise EmoEdgeError(f"an ordinary client is not served any more: {error}") from error


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--count", default=2_000, show_default=True, type=click.IntRange(1), help="Number of connections.")
@click.option("--seed", default=1, show_default=True, help="Seed of what they send.")
def main(bundle: Path, count: int, seed: int) -> None:
    """Send WebSocket frames that nobody thought of to ``emo-edge serve`` on BUNDLE."""
    require_hypothesis()
    from emo_edge.benchmarks.serving.__main__ import pictures

    drawing, codes = pictures()[0], Counter[int]()
    with TemporaryFile("w+") as log, server(bundle, ["--device", "cpu"], log) as running:
        before = running.resident_bytes()

        def one(frames: list[Frame]) -> None:
            codes[admitted(running.address, frames)] += 1
            log.seek(0)
            assert TRACEBACK not in log.read(), f"a traceback in the log after {frames!r}"[:500]

        try:
            fuzz(conversations(drawing), count, seed, one)
        except AssertionError as error:
            raise EmoEdgeError(f"seed {seed}: {error}") from error
        read_one(running.address, drawing)
        descriptors = len(os.listdir(f"/proc/{running.pid}/fd"))
        memory = f"{before / 1e6:.0f} MB before, {running.resident_bytes() / 1e6:.0f} MB after"
    listed = ", ".join(f"{code or 'none'}: {number}" for code, number in sorted(codes.items()))
    click.echo(
        f"{sum(codes.values())} connections, seed {seed}. Closing codes: {listed}. An ordinary client after them is "
        f"served. {memory}, {descriptors} open files."
    )


if __name__ == "__main__":
    main()
