"""Read a picture from standard input or a FIFO: bounded, and never waiting without a word."""

from __future__ import annotations

import logging
import os
import select
import sys
from pathlib import Path

from emo_edge.errors import InputError

logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"
PICTURE = "picture"
"""Content that is expected, unless a caller says otherwise."""
NOTICE_S = 2.0
"""Silence after which the log says what is waited for."""
SILENCE_S = 60.0
"""Silence after which nothing more is expected."""
BLOCK = 1 << 16


def read_standard_input(max_bytes: int) -> bytes:
    """Read standard input to its end; raise InputError for a terminal, for silence and for more than the limit."""
    try:
        descriptor = sys.__stdin__.fileno()  # type: ignore[union-attr]
        terminal = os.isatty(descriptor)
    except (AttributeError, OSError, ValueError) as error:
        raise InputError("standard input is closed: pipe a picture into it, or name its file") from error
    if terminal:
        raise InputError("standard input is a terminal: pipe a picture into it, as in: cat face.jpg | emo-edge infer …")
    return _read(descriptor, "standard input", max_bytes, PICTURE)


def read_fifo(path: Path, max_bytes: int, *, content: str = PICTURE) -> bytes:
    """Read what a program writes to a FIFO; raise InputError where none does, and for more than the limit.

    ``content`` is the kind that is expected there, for messages.
    """
    # Opened otherwise, it would wait here until there is a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return _read(descriptor, str(path), max_bytes, content)
    finally:
        os.close(descriptor)


def _read(descriptor: int, name: str, max_bytes: int, content: str) -> bytes:
    blocks, size = [], 0
    while block := _next_block(descriptor, name, content):
        blocks.append(block)
        size += len(block)
        if size > max_bytes:
            advice = "shrink the image" if content == PICTURE else f"no {content} is so long"
            raise InputError(f"{name}: more than max_bytes={max_bytes:,} bytes: {advice}")
    return b"".join(blocks)


def _next_block(descriptor: int, name: str, content: str) -> bytes:
    """Return the next bytes, b"" at the end."""
    for wait in (NOTICE_S, SILENCE_S - NOTICE_S):
        # poll: a FIFO that nobody writes to is silent here, and at its end everywhere else.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if poll.poll(wait * 1000):
            return os.read(descriptor, BLOCK)
        if wait == NOTICE_S:
            logger.warning("%s: waiting for a program that writes a %s to it", name, content)
    raise InputError(f"{name}: nothing was written to it for {SILENCE_S:.0f} s: start the program that writes to it")
