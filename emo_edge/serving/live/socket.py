"""``WS /v1/live``: pictures up, live events down; one frame in flight, the newest wins."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from emo_edge.inference.live.events import LIVE_EVENT_VERSION, LiveEvent
from emo_edge.inference.results import Request
from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.live.session import LiveSession
from emo_edge.serving.routes.forms import checked_by, parsed_labels
from emo_edge.serving.routes.service import Service

PROTOCOL = "emo-edge.live.1"
POLICY, FAILED, RESTART, FULL = 1008, 1011, 1012, 1013
GONE = 1006
"""Code of an end without a close."""
SEND_S = 10.0
"""For an event to leave; a reader that is slower loses its connection. Meanwhile newer pictures replace older ones."""
REASON_BYTES = 120
"""Most of a closing frame's reason: the protocol has 123."""
_numbers = itertools.count(1)


async def live_socket(socket: WebSocket) -> None:
    """Serve one connection from its opening to its end."""
    service: Service = socket.app.state.service
    protocol = PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None
    await socket.accept(protocol)
    if service.live_connections >= service.limits.live_connections:
        await socket.close(FULL, f"{service.limits.live_connections} pages are live already: try again later")
        return
    service.live_connections += 1
    service.metrics.live_connections.inc()
    connection = LiveConnection(socket, service)
    try:
        await connection.run()
    finally:
        service.live_connections -= 1
        service.metrics.live_connections.dec()


class PolicyError(Exception):
    """A message that no client should send; ends the connection."""


class LiveConnection:
    """Messages of one WebSocket, and the session that they feed."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service, self._request = socket, service, service.request
        self._client = f"live-{next(_numbers)}"
        self._loop = asyncio.get_running_loop()
        self._session: LiveSession | None = None
        self._failed: asyncio.Future[str] = self._loop.create_future()

    async def run(self) -> None:
        """Take messages until either side ends."""
        try:
            await self._begin(self._request)
            code, reason = await self._messages()
        except WebSocketDisconnect:
            code, reason = 0, ""
        except PolicyError as error:
            code, reason = POLICY, str(error)
        finally:
            await self._end_session()
        if code:
            await close_socket(self._socket, code, reason)

    async def _messages(self) -> tuple[int, str]:
        """Handle messages; return the code and the reason with which the server ends the connection, 0 for none."""
        while True:
            receive = asyncio.ensure_future(self._socket.receive())
            try:
                done, _ = await asyncio.wait(
                    (receive, self._failed), timeout=self._service.limits.idle_s, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                if not receive.done():
                    receive.cancel()
            if self._failed in done:
                reason = self._failed.result()
                return (RESTART if self._service.is_draining else FAILED), reason
            if not done:
                return POLICY, f"no picture for {self._service.limits.idle_s:.0f} s"
            message = receive.result()
            if message["type"] == "websocket.disconnect":
                return 0, ""
            if message.get("bytes") is not None:
                assert self._session is not None  # since the first hello
                self._session.put(message["bytes"])
            else:
                await self._begin(self._asked(message.get("text") or ""))

    def _asked(self, text: str) -> Request:
        """Read a text message, which changes the labels."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        labels = content["labels"] if isinstance(content, dict) and set(content) == {"labels"} else 0
        if labels is None:
            return self._service.request
        limits = self._service.limits
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            labels = ",".join(labels) if sum(map(len, labels)) <= limits.label_characters else None
        if not isinstance(labels, str):
            raise PolicyError('a text is {"labels": "name of a set"}, {"labels": ["joy", ...]} or {"labels": null}')
        try:
            request = replace(self._service.request, labels=parsed_labels(labels, limits))
            checked_by(self._service.pipeline.check, request, 1, "labels")
        except ApiError as error:
            raise PolicyError(error.message) from error
        return request

    async def _begin(self, request: Request) -> None:
        """Start a session with these labels, after a hello."""
        await self._end_session()
        # A session's event may have met the client's end before this does.
        if self._socket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(GONE)
        await self._socket.send_text(json.dumps(hello(self._service, request), allow_nan=False))
        self._session = LiveSession(
            self._service, self._client, request, self._send_event, self._refuse, self._session_ended
        )

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
            # Its last event may be on its way through this event loop.
            await asyncio.to_thread(session.join)

    def _send_event(self, event: LiveEvent) -> None:
        self._send(event.to_dict())

    def _refuse(self, index: int, reason: str) -> None:
        self._send({"kind": "refused", "index": index, "reason": reason})

    def _send(self, content: dict[str, Any]) -> None:
        """Send from the session's thread, and wait: a slow reader slows the session, and nothing piles up."""
        text = json.dumps(content, allow_nan=False)
        sending = asyncio.run_coroutine_threadsafe(self._socket.send_text(text), self._loop)
        try:
            sending.result(SEND_S)
        except BaseException:
            sending.cancel()
            raise

    def _session_ended(self, reason: str) -> None:
        if reason:
            self._loop.call_soon_threadsafe(self._fail, reason)

    def _fail(self, reason: str) -> None:
        if not self._failed.done():
            self._failed.set_result(reason)


async def close_socket(socket: WebSocket, code: int, reason: str) -> None:
    """Close a connection, whose client may have gone already."""
    with suppress(RuntimeError, WebSocketDisconnect, asyncio.TimeoutError):
        await asyncio.wait_for(socket.close(code, _shortened(reason)), SEND_S)


def hello(service: Service, request: Request) -> dict[str, Any]:
    """Return the first message: what reads, and what a client may send."""
    settings, limits = service.pipeline.settings(request), service.limits
    return {
        "kind": "hello",
        "live_event_version": LIVE_EVENT_VERSION,
        "name": service.name,
        "purpose": settings.purpose,
        "profile": settings.profile,
        "device": settings.device,
        "labels": list(settings.labels),
        "limits": {"message_bytes": limits.message_bytes, "pixels": limits.pixels, "idle_s": limits.idle_s},
    }


def _shortened(reason: str) -> str:
    return reason.encode()[:REASON_BYTES].decode(errors="ignore")
