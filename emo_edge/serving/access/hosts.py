"""Addresses under which a server may be asked, and pages that may ask it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Return True for an address that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_local_name(header: str | None) -> bool:
    """Return True if the header ``Host`` is one of `LOCAL_NAMES`."""
    return _name_of(header or "") in LOCAL_NAMES


class HostCheck:
    """Refuses a request under a foreign name, and one that a foreign page sends.

    A page of the web can send requests to this machine, and can give its own name this machine's address. Without a
    token only the names of this machine are taken; with one, any, because a foreign page does not have it.
    """

    def __init__(self, host: str, *, has_token: bool) -> None:
        self._any_host = has_token
        self._names = {*LOCAL_NAMES, _bracketed(host)}

    def host(self, header: str | None) -> bool:
        """Return True if the header ``Host`` is a name of this server."""
        name = _name_of(header or "")
        return name is not None and (self._any_host or name in self._names)

    def origin(self, origin: str | None, host: str | None) -> bool:
        """Return True for a request of the server's own page, or of no page at all."""
        if origin is None:
            return True
        return host is not None and urlsplit(origin).netloc.lower() == host.lower()


@lru_cache(maxsize=16)
def _name_of(header: str) -> str | None:
    """Return the host of ``host:port`` in lower case; None for what is no host."""
    try:
        parts = urlsplit(f"//{header}")
        if not parts.hostname or parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return None
    return _bracketed(parts.hostname)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host.lower()
