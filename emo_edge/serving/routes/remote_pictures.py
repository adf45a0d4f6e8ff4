"""Pictures by address: from named hosts alone, over connections to public addresses that were checked before.

A name is resolved once, every address is checked, and the connection goes to a checked address: a name that changes
meanwhile (DNS rebinding) leads nowhere else. Each redirect begins again. No error shows more of an address than its
host: a query may hold a key.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

from emo_edge.errors import InputError
from emo_edge.serving.access.addresses import is_public
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.engine.limits import ServerLimits

PORTS = {"http": 80, "https": 443}
PICTURE_TYPES = ("image/", "application/octet-stream")
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST = 4096
"""Characters of an address."""
ADDRESS = re.compile(rf"[!-~]{{1,{LONGEST}}}")
BLOCK = 64 * 1024
HEAD_BYTES = 32 * 1024
HOST = re.compile(r"(?=.{1,253}(?::|$))[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?")
"""A host that may be allowed, with the port of one that is not at its scheme's."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a name."""
Dialer = Callable[[str, int, str | None], Awaitable[Connection]]
"""Connects to an address and a port; with a name, over TLS whose certificate is that name's."""


async def system_addresses(name: str, port: int) -> list[str]:
    """Return the addresses of a name as this machine resolves it."""
    records = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in records))


async def dialed(address: str, port: int, tls_name: str | None) -> Connection:
    """Connect to an address, never through a proxy."""
    context = ssl.create_default_context() if tls_name else None
    return await asyncio.open_connection(address, port, ssl=context, server_hostname=tls_name, limit=BLOCK)


def checked_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """Return hosts in lower case; raise InputError for what is no ``HOST`` or ``HOST:PORT``."""
    names = [host.lower() for host in hosts]
    for name in names:
        if not HOST.fullmatch(name):
            raise InputError(
                f"--allow-image-host {name[:80]!r}: give a host, such as images.example.org, without https://"
            )
    return frozenset(names)


@dataclass(frozen=True)
class RemotePictures:
    """Fetches pictures for clients."""

    hosts: frozenset[str]
    """``HOST``, or ``HOST:PORT`` of one at another port than its scheme's; empty fetches nothing."""
    limits: ServerLimits
    resolve: Resolver = system_addresses
    dial: Dialer = dialed
    slots: asyncio.Semaphore = field(init=False)
    """Held from the fetch to the reading: pictures in memory have a bound."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", asyncio.Semaphore(self.limits.fetches))

    async def fetch(self, url: str, param: str) -> bytes:
        """Return the bytes behind an address; raise ApiError that names ``param`` for one that is refused or fails."""
        try:
            return await asyncio.wait_for(self._follow(url, param), self.limits.fetch_s)
        except asyncio.TimeoutError:
            raise ApiError(400, f"the picture did not arrive within {self.limits.fetch_s:g} s", param) from None
        except (OSError, ssl.SSLError, h11.RemoteProtocolError, ValueError):  # of an address that it leads on to, too
            # Without the reason: it would tell a client about this machine's network.
            raise ApiError(400, "the picture's host did not answer as a web server does", param) from None

    async def _follow(self, url: str, param: str) -> bytes:
        is_secure = False
        for _ in range(self.limits.redirects + 1):
            parts = self._allowed(url, param)
            if is_secure and parts.scheme == "http":
                raise ApiError(400, "the picture's host leads from https to http", param)
            is_secure = parts.scheme == "https"
            data, location = await self._get(parts, param)
            if location is None:
                return data
            url = urljoin(url, location)
        raise ApiError(400, f"the picture's host leads on more than {self.limits.redirects} times", param)

    def _allowed(self, url: str, param: str) -> SplitResult:
        """Return the parts of an address at an allowed host."""
        try:
            parts = urlsplit(url)
            name, port = parts.hostname or "", parts.port
        except ValueError:
            raise ApiError(400, "the picture's address cannot be read", param) from None
        if not ADDRESS.fullmatch(url):
            raise ApiError(400, f"a picture's address has at most {LONGEST} characters of ASCII, without spaces", param)
        if parts.scheme not in PORTS or parts.username is not None or parts.password is not None:
            raise ApiError(400, "a picture's address begins with https:// or http://, and names no user", param)
        own = port is None or port == PORTS[parts.scheme]
        if (name if own else f"{name}:{port}") not in self.hosts:
            raise ApiError(
                400, f"this server fetches no pictures from {name[:80]!r}: send them as data:image/...", param
            )
        return parts

    async def _get(self, parts: SplitResult, param: str) -> tuple[bytes, str | None]:
        """Return the content, or the address to go on with."""
        name, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
        addresses = await self.resolve(name, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise ApiError(400, f"{name[:80]!r} is no public host", param)
        reader, writer = await self.dial(addresses[0], port, name if parts.scheme == "https" else None)
        try:
            return await _Exchange(reader, writer, self.limits.body_bytes, param).get(parts)
        finally:
            writer.transport.abort()
            with suppress(Exception):
                await writer.wait_closed()


class _Exchange:
    """One request of HTTP/1.1 and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int, param: str) -> None:
        self._reader, self._writer, self._most, self._param = reader, writer, most_bytes, param
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)

    async def get(self, parts: SplitResult) -> tuple[bytes, str | None]:
        """Return the content, or the address of a redirect."""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [
            ("Host", parts.netloc), ("User-Agent", "emo-edge"), ("Accept", "image/*"), ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]  # fmt: skip
        try:
            request = h11.Request(method="GET", target=target, headers=headers)
        except h11.LocalProtocolError:
            raise ApiError(400, "the picture's address cannot be read", self._param) from None
        self._writer.write(self._state.send(request) + self._state.send(h11.EndOfMessage()))
        await self._writer.drain()
        response = await self._next()
        while isinstance(response, h11.InformationalResponse):
            response = await self._next()
        if not isinstance(response, h11.Response):
            raise h11.RemoteProtocolError("no response")
        fields = {key.lower(): value.decode("ascii") for key, value in response.headers}
        if response.status_code in REDIRECTS and b"location" in fields:
            return b"", fields[b"location"]
        if response.status_code != 200:
            raise ApiError(400, f"the picture's host answered {response.status_code}", self._param)
        if not fields.get(b"content-type", PICTURE_TYPES[1]).lower().startswith(PICTURE_TYPES):
            raise ApiError(400, "the address is that of no picture", self._param)
        if int(fields.get(b"content-length", "0")) > self._most:
            raise self._too_large()
        return await self._content(), None

    async def _content(self) -> bytes:
        content = bytearray()
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise h11.RemoteProtocolError("cut off")
            content += event.data
            if len(content) > self._most:
                raise self._too_large()
        return bytes(content)

    def _too_large(self) -> ApiError:
        return ApiError(400, f"a picture has at most {self._most:,} bytes: shrink it", self._param)

    async def _next(self) -> object:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(await self._reader.read(BLOCK))
        return event
