"""The process: sockets, the event loop, warm engines before the first request, and an end that drains."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from emo_edge.errors import InputError
from emo_edge.serving.access.early import EarlyRefusal
from emo_edge.serving.access.entry import Entry
from emo_edge.serving.access.hosts import HostCheck, is_loopback
from emo_edge.serving.access.token import TokenCheck
from emo_edge.serving.app import make_app
from emo_edge.serving.connections import LiveProtocol, bounded_protocol
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.live.sources import SourceFeed
from emo_edge.serving.routes.service import Service

OTHER_FILES = 512
"""Descriptors of the engines, the bundle and the page."""
ACCEPT_S = 1.0
"""For the connections that wait when the server ends, against those who never cease to connect."""
FIRST_INHERITED = 3
"""Descriptor of the first socket that systemd hands over."""


@dataclass(frozen=True)
class Address:
    """The address at which the server listens."""

    host: str
    port: int
    """0 takes a free one."""
    certificate: Path | None = None
    key: Path | None = None

    def url(self, port: int) -> str:
        """Return the address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{port}/"


def listening_socket(address: Address, *, has_token: bool) -> socket.socket:
    """Return a bound socket, systemd's own where it hands one over.

    Raises InputError for an address beyond this machine without a token, and for one that cannot be had.
    """
    inherited = inherited_socket()
    host = address.host if inherited is None else _host_of(inherited)
    if not is_loopback(host) and not has_token:
        raise InputError(
            f"{host} is reached from other machines: give --token-file, so that only who has the token may ask, or "
            "listen on 127.0.0.1"
        )
    if inherited is not None:
        return inherited
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Named, because asyncio switches Nagle's algorithm off only where it knows that it is TCP: 40 ms an answer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address.host, address.port))
        bound.listen(1024)
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{address.host}:{address.port}: {reason}; choose another --port") from error
    bound.set_inheritable(False)
    return bound


def _host_of(bound: socket.socket) -> str:
    """Return the host of a socket's address; that of a UNIX socket is this machine."""
    return "localhost" if bound.family == socket.AF_UNIX else str(bound.getsockname()[0])


def inherited_socket() -> socket.socket | None:
    """Return the socket that systemd opened for this process; None where there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=FIRST_INHERITED)


def make_server(
    service: Service,
    address: Address,
    token: str | None = None,
    started: Callable[[], None] = lambda: None,
    sources: Mapping[str, SourceFeed] | None = None,
) -> uvicorn.Server:
    """Return the server of one service; ``run(sockets=[socket])`` answers requests until a signal ends it.

    ``started`` is called when the first request may come. SIGTERM and SIGINT let requests under way end, as long as
    the limits say, and are raised again afterwards.
    """
    limits = service.limits
    entry = Entry(
        HostCheck(address.host, has_token=token is not None),
        TokenCheck(token) if token is not None else None,
        limits.waiting,
        room=lambda: service.room,
        is_draining=lambda: service.is_draining,
    )
    app = make_app(service, entry, sources or {})
    config = uvicorn.Config(
        app,
        http=bounded_protocol(limits, EarlyRefusal(entry, service.metrics), lambda: service.is_draining),
        ws=LiveProtocol,
        ws_max_size=limits.message_bytes,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(limits.drain_s),
        server_header=False,
        log_config=None,
        access_log=False,
        lifespan="off",
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
    )
    return _Server(config, service, started)


def allow_connections(limits: ServerLimits) -> None:
    """Raise the process's bound on open files, as far as it may, so that every connection finds a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limits.connections_per_address + OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(uvicorn.Server):
    """Reports that it is ready, and takes no more readings from a signal on."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()
        notify_systemd("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await accept_waiting(sockets or [])
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.is_draining = True
        notify_systemd("STOPPING=1")
        super().handle_exit(sig, frame)


async def accept_waiting(listening: Sequence[socket.socket]) -> None:
    """Let the event loop accept the connections that wait, which the end of a listening socket resets unanswered."""
    waiting = select.poll()
    for one in listening:
        waiting.register(one, select.POLLIN)
    last, quiet = time.monotonic() + ACCEPT_S, 0
    # asyncio makes a connection of what it has accepted two rounds later, and fails where the socket is closed by then.
    while quiet < 3 and time.monotonic() < last:
        quiet = 0 if waiting.poll(0) else quiet + 1
        await asyncio.sleep(0)


def notify_systemd(state: str) -> None:
    """Send systemd a state, for units of ``Type=notify``; do nothing elsewhere."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    name = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client, suppress(OSError):
        client.sendto(state.encode(), name)
