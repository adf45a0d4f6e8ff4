"""Standard streams as commands need them, however the process was started."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress

from emo_edge.console.native_messages import own_stderr

HANDLER = "emo_edge_plain"
"""Name of the error handler of standard output and standard error."""
ASCII = "emo_edge_ascii"
"""ASCII under a name of its own: click writes UTF-8 to a stream that is plain "ascii", as if that were a mistake."""
PLAIN = {
    **dict.fromkeys("█▉▊▋▌▍▎▏", "#"),
    **dict.fromkeys("–—−", "-"),
    **{"±": "+/-", "→": "->", "←": "<-", "°": " deg", "…": "...", "×": "x", "≤": "<=", "≥": ">="},
}
"""Characters of our own output that not every encoding has."""
STREAMS = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


def prepare_streams() -> None:
    """Open the standard streams that are closed, and write what a stream cannot encode in plain characters.

    A closed one is opened as ``/dev/null``: else the next file that is opened takes its number, and what native code
    prints goes into that file.
    """
    for name, number, mode in STREAMS:
        _open_number(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    own_stderr()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            plain = _codec_name(stream.encoding) == "ascii"
            stream.reconfigure(errors=HANDLER, encoding=ASCII if plain else None)


def discard_streams() -> None:
    """Discard what the standard streams still buffer: Python would try again at its end, and fail with its own code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_number(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


def _codec_name(encoding: str | None) -> str:
    try:
        return codecs.lookup(encoding or "ascii").name
    except LookupError:
        return ""


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace one character that cannot be encoded; bytes of a name that are no UTF-8 stay the bytes they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return PLAIN.get(character) or _escaped(character), error.start + 1


def _escaped(character: str) -> str:
    """Write a character as JSON does, so that a document stays one."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _named_ascii(name: str) -> codecs.CodecInfo | None:
    if name != ASCII:
        return None
    ascii_codec = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii_codec.encode,
        ascii_codec.decode,
        ascii_codec.streamreader,
        ascii_codec.streamwriter,
        ascii_codec.incrementalencoder,
        ascii_codec.incrementaldecoder,
        ASCII,
    )


codecs.register(_named_ascii)
codecs.register_error(HANDLER, _plain)
