"""``GET /v1/sources`` and ``WS /v1/live/NAME``: a camera of the server, as events with their frames."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from emo_edge.serving.live.socket import FAILED, FULL, POLICY, PROTOCOL, RESTART, SEND_S, close_socket, hello
from emo_edge.serving.live.sources import SourceFeed
from emo_edge.serving.routes.service import Service

NO_SOURCE = 4404
"""Code of the close: no source has that name."""
WAITING = 64
"""Events other than frames that wait for a viewer; one more ends the connection."""


async def get_sources(request: HttpRequest) -> Response:
    """Answer ``GET /v1/sources``."""
    feeds: dict[str, SourceFeed] = request.app.state.sources
    return JSONResponse({"sources": [feed.to_dict() for feed in feeds.values()]})


async def source_socket(socket: WebSocket) -> None:
    """Serve one viewer from its coming to its going."""
    service: Service = socket.app.state.service
    feed: SourceFeed | None = socket.app.state.sources.get(socket.path_params["name"])
    await socket.accept(PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
    if feed is None:
        await socket.close(NO_SOURCE, "there is no such source: see /v1/sources")
        return
    if service.viewers >= service.limits.viewers:
        await socket.close(FULL, f"{service.limits.viewers} viewers watch already: try again later")
        return
    service.viewers += 1
    try:
        await SocketViewer(socket, service, feed).run()
    finally:
        service.viewers -= 1


class SocketViewer:
    """A `Viewer` behind a WebSocket: the newest frame, and every other event in order."""

    def __init__(self, socket: WebSocket, service: Service, feed: SourceFeed) -> None:
        self._socket, self._service, self._feed = socket, service, feed
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        self._events, self._frame = list[str](), list[str | bytes]()
        self._end: str | None = None
        self._sends_pictures = socket.query_params.get("pictures") != "false"

    def frame(self, event: str, picture: bytes) -> None:
        """Take a frame, in the source's thread."""
        self._call(self._keep_frame, [picture, event] if self._sends_pictures else [event])

    def event(self, event: str) -> None:
        """Take another event, in the source's thread."""
        self._call(self._keep_event, event)

    def ended(self, reason: str) -> None:
        """Take notice of the end, in whatever thread."""
        self._call(self._keep_end, reason)

    async def run(self) -> None:
        """Send what comes until either side ends."""
        greeting = {**hello(self._service, self._service.request), "source": self._feed.to_dict()}
        await self._socket.send_text(json.dumps(greeting, allow_nan=False))
        self._feed.join(self)
        tasks = [asyncio.ensure_future(one) for one in (self._send_all(), self._receive())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done = next(task for task in tasks if task.done())
            code, reason = done.result()
        except WebSocketDisconnect:
            code, reason = 0, ""
        finally:
            self._feed.leave(self)
            for task in tasks:
                task.cancel()
        if code:
            await close_socket(self._socket, code, reason)

    async def _send_all(self) -> tuple[int, str]:
        while True:
            await self._news.wait()
            self._news.clear()
            if len(self._events) > WAITING:
                return POLICY, "the connection is too slow for this source"
            messages = [*self._events, *self._frame]
            self._events, self._frame = [], []
            for message in messages:
                send = self._socket.send_text if isinstance(message, str) else self._socket.send_bytes
                try:
                    await asyncio.wait_for(send(message), SEND_S)  # type: ignore[arg-type]
                except asyncio.TimeoutError:
                    return POLICY, "the connection is too slow for this source"
            if self._end is not None and not self._events:
                return (RESTART if self._service.is_draining else FAILED), self._end

    async def _receive(self) -> tuple[int, str]:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return 0, ""
        return POLICY, "a viewer sends nothing"

    def _call(self, function: object, *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]

    def _keep_frame(self, messages: list[str | bytes]) -> None:
        self._frame = messages
        self._news.set()

    def _keep_event(self, event: str) -> None:
        self._events.append(event)
        self._news.set()

    def _keep_end(self, reason: str) -> None:
        self._end = reason
        self._news.set()
