"""Remove credentials from the sources that users name: addresses and GStreamer pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

HIDDEN = "***"
SECRET_PARTS = (
    *("user", "pw", "pass", "secret", "token", "key", "auth", "cred"),
    *("login", "cookie", "session", "header", "proxy", "sign"),
)
"""A property whose name holds one of these is hidden."""
SECRET_WORDS = ("pin", "otp")
"""A property one of whose words is one of these is hidden; longer words hold them by chance."""
_ENCODED_AT = re.compile("%40", re.IGNORECASE)
_ENCODED_QUERY = re.compile("%(?:3f|23|3b)", re.IGNORECASE)
"""``?``, ``#`` and ``;`` as they stand in an address that was encoded once too often."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)
_CERTAIN_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]*\.[\w.-]+)(?::[0-9]+)?|[\w-]+:[0-9]+", re.ASCII)
"""Part of a path that is a host: it has dots, brackets or a port."""
_PLAIN_NAME = re.compile(r"[\w.\[\]-]+", re.ASCII)
"""Name of a query's value; one with other letters may begin with a value that has no name, as RTMP's options follow."""
_PLAIN_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[^:@\[\]]*)(?::[0-9]+)?", re.ASCII)


def without_credentials(source: str) -> str:
    """Return ``source`` without user, password, query values and fragment of each address in it.

    Of RTMP also without what follows the application, which is the key of a stream. Of a GStreamer pipeline also
    without the values of properties that look like credentials (user-id, user-pw, token). Names of files stay as they
    are.
    """
    scheme, mark, rest = source.partition("://")
    if mark and _SCHEME.fullmatch(scheme):
        shown = _address(rest)
        return f"{scheme}://{_without_stream_key(shown) if scheme.lower().startswith('rtmp') else shown}"
    if mark or " ! " in source:
        return _pipeline(source)
    return source


def unknown_text(text: str) -> str:
    """Return ``text``, which names no source, for an error: also without ``user:password@`` that lacks a scheme."""
    shown = without_credentials(text)
    if "://" not in shown and ":" in shown.partition("@")[0] and "@" in shown:
        return f"{HIDDEN}@{_address(shown.rpartition('@')[2])}"
    return shown


def drawing_stem(source: str) -> str:
    """Return a file name, without an extension, for the drawings of ``source``; no credential is in it."""
    shown = without_credentials(source)
    if "://" not in source and (" ! " not in source or Path(source).is_file()):
        return Path(shown).stem or "source"
    if not _SCHEME.fullmatch(source.partition("://")[0]):
        return "pipeline"
    path = re.split(r"[?#;]", shown.partition("://")[2])[0]
    name = re.sub(r"[^\w.-]+", "-", Path(path).stem).strip("-.")
    return name or "stream"


def _address(rest: str) -> str:
    """Redact an address after its ``://``: authority, path, query, fragment."""
    authority, tail = _split(rest)
    if "@" not in authority and "@" in tail and not _PLAIN_HOST.fullmatch(authority):
        # A password with a bare "/", "?" or "#" ends the authority too early.
        authority, tail = _split(rest.rpartition("@")[2])
    elif "@" in authority and "@" in tail:
        # One with an "@" before that as well: what follows the last "@" is the host, if it can only be one.
        later, path = _split(tail.rpartition("@")[2])
        if _CERTAIN_HOST.fullmatch(later):
            authority, tail = later, path
    authority = _ENCODED_AT.split(authority.rpartition("@")[2])[-1]
    before, fragment_mark, _ = tail.partition("#")
    path, query_mark, query = before.partition("?")
    first, mark, nested = path.partition("://")
    shown = authority + "/".join(map(_path_segment, first.split("/")))
    if mark:
        # As of a proxy, or of FFmpeg's lists of addresses.
        shown += f"://{_address(nested)}"
    if query_mark:
        shown += "?" + re.sub(r"[^&;]+", lambda pair: _pair(pair[0]), query)
    return shown + (f"#{HIDDEN}" if fragment_mark else "")


def _without_stream_key(address: str) -> str:
    """Hide the path of an RTMP address behind its first part: ``host/app/key``."""
    path, query = address, ""
    if end := re.search("[?#]", address):
        path, query = address[: end.start()], address[end.start() :]
    host, _, names = path.partition("/")
    application, _, key = names.partition("/")
    return f"{host}/{application}/{HIDDEN}{query}" if key else address


def _split(rest: str) -> tuple[str, str]:
    end = next((index for index, letter in enumerate(rest) if letter in "/?#"), len(rest))
    return rest[:end], rest[end:]


def _path_segment(segment: str) -> str:
    """Hide the values of path parameters, an encoded query, and what some cameras have: ``user=admin_password=…``."""
    name, *parameters = segment.split(";")
    if "=" in unquote(name) and _is_secret(name):
        name = HIDDEN
    elif mark := _ENCODED_QUERY.search(name):
        name = f"{name[: mark.end()]}{HIDDEN}"
    return ";".join((name, *map(_pair, parameters)))


def _pair(text: str) -> str:
    name, mark, _ = text.partition("=")
    return f"{name}={HIDDEN}" if mark and _PLAIN_NAME.fullmatch(name) else HIDDEN


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return any(part in lower for part in SECRET_PARTS) or any(word in SECRET_WORDS for word in re.split(r"\W|_", lower))


def _pipeline(text: str) -> str:
    """Redact the words of a gst-launch description, which allows blanks around an equals sign."""
    shown, end = "", 0
    text = re.sub(r"\s*=\s*", "=", text)
    for start, stop in _words(text):
        shown += text[end:start] + _word(text[start:stop])
        end = stop
    return shown + text[end:]


def _word(word: str) -> str:
    key, mark, value = _unquoted(word).partition("=")
    if "://" in key:
        # No scheme stands in front of it, or another program's prefix: concat:http://...
        before, _, rest = _unquoted(word).partition("://")
        return f"{before.rpartition('@')[2]}://{_address(rest)}"
    if mark and _is_secret(key):
        return f"{key}={HIDDEN}"
    return f"{key}={without_credentials(_unquoted(value))}" if "://" in value else word


def _unquoted(word: str) -> str:
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if quoted else word


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each word; quotes and backslashes keep blanks inside a word."""
    start, quote, index = -1, "", 0
    while index < len(text):
        letter = text[index]
        if start < 0 and not letter.isspace():
            start = index
        if letter == "\\":
            index += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter.isspace() and start >= 0:
            yield start, index
            start = -1
        index += 1
    if start >= 0:
        yield start, len(text)
