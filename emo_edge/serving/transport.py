"""A transport that joins what is written, and whose end does not take the answer from a client that still sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 2.0
"""For a client to send the rest of its request and read the answer."""


class EndingTransport:
    """A transport that keeps what is written until `flush`, which the event loop calls after the callback under way.

    uvicorn writes head, body and end of an answer one by one, and each system call that sends wakes the client.

    A socket that is closed while something of the request is still to come answers it with a reset, which takes from
    the client the answer that it has not read. Here the rest of such a request is received and dropped instead: the
    protocol gets it, and drops what comes after `is_ended`. Everything else is the transport's own.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_whole: Callable[[], bool]
    ) -> None:
        self._transport, self._loop, self._is_whole = transport, loop, is_whole
        self._parts: list[bytes] = []
        self.is_ended = False
        """True once `close` was called."""

    def write(self, data: bytes) -> None:
        """Keep data for the next packet; drop it after the end."""
        if not data or self.is_ended:
            return
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = []
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Return True if nothing more is sent."""
        return self.is_ended or self._transport.is_closing()

    def close(self) -> None:
        """Send what was written, then close: at once where the request is whole, else when the client has ended."""
        self.flush()
        if self.is_closing():
            return
        self.is_ended = True
        if self._is_whole():
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(LINGER_S, self._transport.close)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
