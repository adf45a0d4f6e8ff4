"""Connections: bounds on their number and heads, refusals before anything is parsed, joined writes; WebSockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from emo_edge.serving.access.early import EarlyRefusal
from emo_edge.serving.engine.limits import ServerLimits

NOT_UTF8 = 1007


def bounded_protocol(limits: ServerLimits, early: EarlyRefusal) -> type[H11Protocol]:
    """Return uvicorn's protocol with a bound on the connections of an address, and on the time for a request's head.

    A reading that could only wait is refused by ``early`` before uvicorn looks at it.
    """
    open_by_address: Counter[str] = Counter()

    class BoundedProtocol(H11Protocol):
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._plain, self.transport = transport, cast(asyncio.Transport, JoinedWrites(transport, self.loop))
            self._address = self.client[0] if self.client else ""
            open_by_address[self._address] += 1
            self._head: asyncio.TimerHandle | None = None
            self._await_head()
            if open_by_address[self._address] > limits.connections_per_address:
                transport.abort()

        def data_received(self, data: bytes) -> None:
            if self._is_between_requests():
                if not self.conn.trailing_data[0] and (answer := early.answer(data, self.scheme or "http")):
                    self.transport.write(answer)
                    self.transport.close()
                    return
                self._await_head()
            super().data_received(data)
            if not self._is_between_requests():
                self._forget_head()

        def on_response_complete(self) -> None:
            cast(JoinedWrites, self.transport).flush()
            super().on_response_complete()
            # The beginning of the next head may be here already.
            if self._is_between_requests() and self.conn.trailing_data[0]:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._leave()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            # It is another protocol's from here on, with bounds of its own.
            self._leave()
            self.transport = self._plain
            super().handle_websocket_upgrade(event)

        def _is_between_requests(self) -> bool:
            cycle: Any = self.cycle
            return cycle is None or bool(cycle.response_complete)

        def _await_head(self) -> None:
            if self._head is None:
                self._head = self.loop.call_later(limits.head_s, self._close_headless)

        def _forget_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _close_headless(self) -> None:
            self._head = None
            if self._is_between_requests():
                self.transport.abort()

        def _leave(self) -> None:
            self._forget_head()
            open_by_address[self._address] -= 1
            if not open_by_address[self._address]:
                del open_by_address[self._address]

    return BoundedProtocol


class LiveProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which ends a connection with its code when a text is not UTF-8, also after a client's close.

    uvicorn's own way writes a traceback into the log, and fails where the client has closed meanwhile.
    """

    def send_receive_event_to_app(self) -> None:
        """Hand a whole message to the application."""
        if self.curr_msg_data_type != "text" or self.close_sent or _is_utf8(b"".join(self.frames)):
            super().send_receive_event_to_app()
            return
        self.frames = []
        self.conn.fail(NOT_UTF8, "the text is not UTF-8")
        self.handle_parser_exception()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class JoinedWrites:
    """A transport that keeps what is written until `flush`, which the event loop calls after the callback under way.

    uvicorn writes head, body and end of an answer one by one, and each system call that sends wakes the client.
    Everything else is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep data for the next packet."""
        if not data:
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

    def close(self) -> None:
        """Send what was written, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
