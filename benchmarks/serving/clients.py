"""The server as a child process, and the clients that ask it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from emo_edge.console.children import code_command
from emo_edge.errors import EmoEdgeError

RUN = "import sys; from emo_edge.cli import main; sys.argv[0] = 'emo-edge'; sys.exit(main())"
READINGS = "/v1/readings"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    address: str
    """host:port."""
    pid: int

    def resident_bytes(self) -> int:
        """Return the memory of its process."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return 1024 * int(line.split()[1])


@contextmanager
def server(bundle: Path, options: Sequence[str], log: IO[str] | None = None) -> Iterator[Served]:
    """Run ``emo-edge serve`` inside the block; its standard error goes to ``log``, or to this process's own."""
    command = code_command(RUN, "serve", str(bundle), "--port", "0", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise EmoEdgeError("the server did not start; its message is above")
            yield Served(urlsplit(url).netloc, process.pid)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Wire:
    """The way that a picture takes to a server; both answer with the same JSON."""

    path: str
    media: str
    encode: Callable[[bytes], bytes]


def _as_json(picture: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(picture).decode()}, allow_nan=False).encode()


OURS = Wire(READINGS, "image/jpeg", bytes)
LITSERVE = Wire("/predict", "application/json", _as_json)


class Client:
    """One connection that is kept; each request waits for its answer."""

    def __init__(self, address: str, wire: Wire = OURS) -> None:
        self._wire = wire
        self._connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)

    def read(self, picture: bytes) -> float:
        """Have a picture read; return the seconds."""
        started = time.perf_counter()
        wire = self._wire
        self._connection.request("POST", wire.path, wire.encode(picture), {"Content-Type": wire.media})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200 or json.loads(body)["results"][0]["error"]:
            raise EmoEdgeError(f"the server answered {answer.status}: {body[:200]!r}")
        return time.perf_counter() - started

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def sequential(address: str, pictures: Sequence[bytes], wire: Wire = OURS) -> list[float]:
    """Return the seconds of each picture, one after the other over one connection."""
    client = Client(address, wire)
    try:
        return [client.read(picture) for picture in pictures]
    finally:
        client.close()


def at_once(address: str, pictures: Sequence[bytes], clients: int, wire: Wire = OURS) -> float:
    """Return the seconds for all pictures, taken by so many clients."""
    opened = [Client(address, wire) for _ in range(clients)]
    portions = [pictures[number::clients] for number in range(clients)]

    def work(number: int) -> None:
        for picture in portions[number]:
            opened[number].read(picture)

    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(work, range(clients)))
    finally:
        for client in opened:
            client.close()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Burst:
    """Statuses and seconds of requests that came at the same moment."""

    status: list[int]
    """0 for one without an answer."""
    seconds: list[float]


def burst(address: str, picture: bytes, requests: int) -> Burst:
    """Send so many requests at once, each over a connection of its own."""

    async def one() -> tuple[int, float]:
        started = time.perf_counter()
        host, port = address.rsplit(":", 1)
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            head = f"POST {READINGS} HTTP/1.1\r\nHost: {address}\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(picture)}\r\n\r\n".encode() + picture)
            line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
            await reader.read()
            writer.close()
            return int(line.split()[1]), time.perf_counter() - started
        except (OSError, IndexError, ValueError, asyncio.TimeoutError):
            return 0, time.perf_counter() - started

    async def every() -> list[tuple[int, float]]:
        return await asyncio.gather(*(one() for _ in range(requests)))

    answers = asyncio.run(every())
    return Burst([status for status, _ in answers], [seconds for _, seconds in answers])


def live_trips(address: str, pictures: Sequence[bytes]) -> list[dict[str, Any]]:
    """Send live pictures one after the other; return the milliseconds of each trip, and of the server's work in it."""
    from websockets.sync.client import connect

    trips = []
    with connect(f"ws://{address}/v1/live", proxy=None, compression=None) as socket:
        socket.recv(PATIENCE_S)
        for picture in pictures:
            started = time.perf_counter()
            socket.send(picture)
            while (event := json.loads(socket.recv(PATIENCE_S)))["kind"] != "frame":
                pass
            trips.append({"trip_ms": 1000 * (time.perf_counter() - started), "work_ms": event["age_ms"]})
    return trips
