"""The gate that every request passes: its host, its origin, its token, the size of its body, headers of the answer."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emo_edge.serving.access.entry import OPEN_PATHS, PAGE, Entry, security_headers
from emo_edge.serving.access.errors import ApiError, error_response
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.engine.metrics import ServerMetrics

logger = logging.getLogger(__name__)

ROUTES = (
    "/v1/chat/completions",
    "/v1/info",
    "/v1/live",
    "/v1/models",
    "/v1/profile",
    "/v1/pulse",
    "/v1/readings",
    "/v1/sources",
    "/metrics",
    "/openapi.json",
)
"""Paths that the metrics name; every other one is ``page`` or ``other``, so that a client cannot make up names."""
DISCARDED = 8
"""A body that is too large is read to its end, up to so many times the limit, so that the client sees the answer."""
POLICY_VIOLATION = 1008


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        entry: Entry,
        limits: ServerLimits,
        metrics: ServerMetrics,
    ) -> None:
        self._app, self._entry, self._limits, self._metrics = app, entry, limits, metrics
        self._bodies = BodyBytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may enter, and answer the rest."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 500

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *security_headers(scope)]
                headers = MutableHeaders(scope=message)
                headers.setdefault("cache-control", "no-store")
                if self._entry.is_draining():
                    headers["connection"] = "close"
            await send(message)

        route = route_name(scope["path"])
        try:
            body = BodyLimit(receive, self._limits, Headers(scope=scope), self._bodies)
            refusal = self._entry.refusal(scope) or self._entry.overload(scope["path"])
            if refusal is not None:
                self._metrics.refused.labels(str(refusal.status)).inc()
                await body.discard()
                await error_response(refusal)(scope, receive, guarded_send)
                return
            try:
                await self._app(scope, body.receive, guarded_send)
            except BodyError as error:
                self._metrics.refused.labels(str(error.refusal.status)).inc()
                await error_response(error.refusal)(scope, receive, guarded_send)
            finally:
                body.release()
        finally:
            self._metrics.count_request(route, status, time.monotonic() - started)
            # Neither a query nor a body is ever logged.
            logger.info("%s %s %d", scope["method"], route, status)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._entry.refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._metrics.refused.labels(str(refusal.status)).inc()
        await receive()
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.message})


def route_name(path: str) -> str:
    """Return the name under which a path is counted and logged."""
    if path in ROUTES or path in OPEN_PATHS:
        return path
    if path.startswith("/v1/samples/"):
        return "/v1/samples"
    return "page" if path.startswith(PAGE) else "other"


class BodyError(Exception):
    """A body that is refused while it arrives."""

    def __init__(self, refusal: ApiError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass
class BodyBytes:
    """Bytes of all bodies in memory."""

    held: int = 0


class BodyLimit:
    """Counts a body while it arrives; refuses one that is too large or too slow, or one too many."""

    def __init__(self, receive: Receive, limits: ServerLimits, headers: Headers, bodies: BodyBytes) -> None:
        self._receive, self._limits, self._bodies, self._held = receive, limits, bodies, 0
        self._size, self._until_s, self._whole = 0, time.monotonic() + limits.body_s, False
        self._expects = "expect" in headers
        self._is_announced_too_large = _announced(headers) > limits.body_bytes

    async def receive(self) -> Message:
        """Return the next message; raise BodyError for a body beyond the limits."""
        if self._whole:
            return await self._receive()
        message = await self._in_time(self._receive)
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > self._limits.body_bytes or self._is_announced_too_large:
                await self._refuse(413, f"a body holds at most {self._limits.body_bytes:,} bytes: shrink the pictures")
            self._held += len(message.get("body", b""))
            self._bodies.held += len(message.get("body", b""))
            if self._bodies.held > self._limits.bodies_bytes:
                await self._refuse(429, "the server holds as many pictures as it may: try again in a moment")
        return message

    async def discard(self) -> None:
        """Read a body that nobody wants, within the limits, so that its client sees the answer."""
        # A client that asks before it sends waits for the answer alone.
        if not self._expects:
            with suppress(BodyError):
                await self._discard()

    def release(self) -> None:
        """Forget the body: its request is answered."""
        self._bodies.held -= self._held
        self._held = 0

    async def _refuse(self, status: int, message: str) -> None:
        await self._discard()
        raise BodyError(ApiError(status, message))

    async def _discard(self) -> None:
        """Read the rest: with bytes that nobody took, the connection would be reset before the answer is seen."""
        while not self._whole and self._size <= DISCARDED * self._limits.body_bytes:
            message = await self._in_time(self._receive)
            if message["type"] != "http.request":
                return
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)

    async def _in_time(self, receive: Callable[[], Awaitable[Message]]) -> Message:
        remaining_s = max(self._until_s - time.monotonic(), 0.001)
        try:
            if sys.version_info < (3, 11):
                return await asyncio.wait_for(receive(), remaining_s)
            # Without a task of its own: a body that is here already is taken at once, so that of a thousand requests
            # at one moment the first ones are under way before the others are looked at.
            async with asyncio.timeout(remaining_s):
                return await receive()
        except asyncio.TimeoutError:
            raise BodyError(ApiError(408, f"the body did not arrive within {self._limits.body_s:.0f} s")) from None


def _announced(headers: Headers) -> int:
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:
        return 0
