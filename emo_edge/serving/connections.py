"""Connections: bounds on their number and heads, refusals before anything is parsed, their end; WebSockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from emo_edge.serving.access.early import EarlyRefusal
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.transport import EndingTransport

NOT_UTF8 = 1007
LAST_HEAD_S = 1.0
"""For a connection that has asked nothing yet when the server ends: its request may be under way."""
WHOLE = (h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
"""States of a client of whose request nothing is missing."""


@dataclass
class ConnectionBounds:
    """Bounds that all connections of one server have together."""

    limits: ServerLimits
    early: EarlyRefusal
    """Refuses a reading that could only wait before uvicorn looks at it."""
    is_draining: Callable[[], bool] = lambda: False
    """Return True once the server ends."""
    open_by_address: Counter[str] = field(default_factory=Counter)

    def enter(self, address: str) -> bool:
        """Count a connection; return False if its address has too many."""
        self.open_by_address[address] += 1
        return self.open_by_address[address] <= self.limits.connections_per_address

    def leave(self, address: str) -> None:
        """Forget a connection."""
        self.open_by_address[address] -= 1
        if not self.open_by_address[address]:
            del self.open_by_address[address]


def bounded_protocol(
    limits: ServerLimits, early: EarlyRefusal, is_draining: Callable[[], bool]
) -> type[BoundedProtocol]:
    """Return the protocol of the connections of one server, which `ConnectionBounds` bound."""

    class Protocol(BoundedProtocol):
        bounds = ConnectionBounds(limits, early, is_draining)

    return Protocol


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with a bound on the connections of an address and on the time for a request's head."""

    bounds: ConnectionBounds

    def connection_made(self, transport: Any) -> None:
        """Count the connection, and wait for its first head."""
        super().connection_made(transport)
        self._plain = transport
        self._ending = EndingTransport(transport, self.loop, is_whole=lambda: self.conn.their_state in WHOLE)
        self.transport = cast(asyncio.Transport, self._ending)
        self._address = self.client[0] if self.client else ""
        self._head: asyncio.TimerHandle | None = None
        is_welcome = self.bounds.enter(self._address)
        self._await_head()
        if not is_welcome:
            transport.abort()
        elif self.bounds.is_draining():
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Answer a reading that could only wait, and hand everything else to uvicorn."""
        if self._ending.is_ended:
            return
        if self._is_between_requests():
            scheme = self.scheme or "http"
            if not self.conn.trailing_data[0] and (answer := self.bounds.early.answer(data, scheme)):
                self.transport.write(answer)
                self.transport.close()
                return
            self._await_head()
        super().data_received(data)
        if not self._is_between_requests():
            self._forget_head()

    def on_response_complete(self) -> None:
        """Send the answer, and wait for the next head."""
        self._ending.flush()
        super().on_response_complete()
        if self.bounds.is_draining():
            super().shutdown()
        # The beginning of the next head may be here already.
        if self._is_between_requests() and self.conn.trailing_data[0]:
            self._await_head()

    def shutdown(self) -> None:
        """End the connection after the request under way, or after the first one where that may be about to come."""
        cycle: Any = self.cycle
        if cycle is None and not self._ending.is_closing():
            self.loop.call_later(LAST_HEAD_S, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection to another protocol, which has bounds of its own."""
        self._leave()
        self.transport = self._plain
        super().handle_websocket_upgrade(event)

    def _is_between_requests(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.bounds.limits.head_s, self._close_headless)

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
        self.bounds.leave(self._address)


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
