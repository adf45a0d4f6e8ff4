"""Refusals of readings while no more may wait: from the bytes as they came, without a parser, a task or a handler.

Of a thousand requests at one moment most are refused, and each of them costs the others time. Only a plain request that
has come whole is answered here, by the same checks as any other; everything else goes its usual way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from email.utils import formatdate
from typing import Any

from emo_edge.serving.access.entry import READINGS, Entry, security_headers
from emo_edge.serving.access.errors import ApiError, error_body
from emo_edge.serving.engine.metrics import ServerMetrics

logger = logging.getLogger(__name__)

FIRST_LINE = re.compile(rb"POST (/[!-~]*) HTTP/1\.1")
HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([ -~]*)")
HEAD_BYTES = 16 * 1024
NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade")
"""Headers of requests whose body comes another way."""
TARGETS = tuple(path.encode() for path in READINGS)
BEGINNINGS = tuple(b"POST " + target for target in TARGETS)


class EarlyRefusal:
    """Answers readings that could only wait."""

    def __init__(self, entry: Entry, metrics: ServerMetrics) -> None:
        self._entry, self._metrics = entry, metrics
        self._arrived = 0
        """Readings that came in this round of the event loop; no handler has looked at them yet."""

    def answer(self, data: bytes, scheme: str) -> bytes | None:
        """Return the whole answer to a request that is refused, after which the connection ends; None for any other."""
        if not data.startswith(BEGINNINGS):
            return None
        if self._entry.room() > self._arrived:
            self._count_arrival()
            return None
        started, scope = time.monotonic(), plain_request(data, scheme)
        if scope is None or self._entry.refusal(scope) is not None:
            return None
        refusal = self._entry.busy()
        self._metrics.refused.labels(str(refusal.status)).inc()
        self._metrics.count_request(scope["path"], refusal.status, time.monotonic() - started)
        logger.info("POST %s %d", scope["path"], refusal.status)
        return _written(refusal, scope)

    def _count_arrival(self) -> None:
        if not self._arrived:
            # The loop's next round begins with this, then come the handlers, then what arrived meanwhile.
            asyncio.get_running_loop().call_soon(self._forget_arrivals)
        self._arrived += 1

    def _forget_arrivals(self) -> None:
        self._arrived = 0


def plain_request(data: bytes, scheme: str) -> dict[str, Any] | None:
    """Return path and headers of one whole request for a reading, as ASGI has them; None for anything else."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or len(head) > HEAD_BYTES:
        return None
    first, *lines = head.split(b"\r\n")
    line, headers = FIRST_LINE.fullmatch(first), [HEADER.fullmatch(line) for line in lines]
    target = line[1].partition(b"?")[0] if line else b""
    if target not in TARGETS or None in headers:
        return None
    pairs = [(one[1].lower(), one[2].rstrip(b" ")) for one in headers if one]
    names = dict(pairs)
    # Who repeats a header, or announces another length than came, may mean something else by it.
    if len(names) < len(pairs) or names.get(b"content-length") != b"%d" % len(body):
        return None
    if any(name in names for name in NOT_PLAIN):
        return None
    return {"path": target.decode(), "headers": pairs, "scheme": scheme}


def _written(refusal: ApiError, scope: dict[str, Any]) -> bytes:
    body = json.dumps(error_body(refusal), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    headers = [
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"application/json"),
        *((name.lower().encode(), value.encode()) for name, value in refusal.headers.items()),
        *security_headers(scope),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
        (b"date", formatdate(usegmt=True).encode()),
    ]
    head = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return b"HTTP/1.1 429 Too Many Requests\r\n%b\r\n%b" % (head, body)
