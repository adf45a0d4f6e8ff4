"""Checks before a request enters: its host, its origin, its token, overload; and the headers of every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from emo_edge.serving.access.errors import ApiError
from emo_edge.serving.access.hosts import HostCheck, is_local_name
from emo_edge.serving.access.token import TokenCheck

OPEN_PATHS = ("/", "/healthz", "/readyz", "/favicon.ico")
"""Paths that need no token; those below `PAGE` as well."""
PAGE = "/page/"
READINGS = ("/v1/chat/completions", "/v1/readings")
"""Paths of requests that wait for the engine."""
SECURITY = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        b"media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
"""Headers of every answer; no route sets one of them."""
LOCAL = (b"cross-origin-opener-policy", b"same-origin")
"""Of answers over https or under a local name; browsers complain about it elsewhere."""


def security_headers(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the headers that the answer to a request carries for safety."""
    is_local = scope["scheme"] == "https" or is_local_name(Headers(raw=scope["headers"]).get("host"))
    return [*SECURITY, LOCAL] if is_local else SECURITY


@dataclass(frozen=True)
class Entry:
    """The checks that a request passes before anything of its body is read."""

    hosts: HostCheck
    token: TokenCheck | None
    waiting: int
    """Readings that may wait."""
    room: Callable[[], int]
    """Return the number of readings that may still come."""
    is_draining: Callable[[], bool]
    """Return True once the server ends."""

    def refusal(self, scope: Mapping[str, Any]) -> ApiError | None:
        """Return the answer to a request that may not enter; None for one that may."""
        headers, path = Headers(raw=scope["headers"]), scope["path"]
        if not self.hosts.host(headers.get("host")):
            return ApiError(403, "this server is not reached under that name: use the address that it printed")
        if not self.hosts.origin(headers.get("origin"), headers.get("host")):
            return ApiError(403, "a page of another origin may not use this server")
        if self.token is not None and not (path in OPEN_PATHS or path.startswith(PAGE)):
            offered = scope.get("subprotocols") or []
            if not (self.token.header(headers.get("authorization")) or self.token.subprotocols(offered)):
                advice = "send the header Authorization: Bearer TOKEN with the server's token"
                return ApiError(401, advice, None, {"WWW-Authenticate": "Bearer"})
        if self.is_draining() and path != "/healthz":
            return ApiError(503, "the server is ending: try again later")
        return None

    def overload(self, path: str) -> ApiError | None:
        """Return the answer to a reading that could only wait, before its body is taken in; None for others."""
        return self.busy() if path in READINGS and self.room() <= 0 else None

    def busy(self) -> ApiError:
        """Return the answer to one reading too many."""
        return ApiError(429, f"{self.waiting} readings wait already: try again in a moment")
