"""Ctrl-C, SIGTERM and SIGHUP end a command the same way: what is open is closed, what is half written is removed."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

INTERRUPTED = 128 + 2
"""Exit code after Ctrl-C, as the shell has it."""
BROKEN_PIPE = 128 + 13
"""Exit code after a reader has gone, such as ``head``; the shell's for SIGPIPE, which Python ignores."""
REPEATED_S = 2.0
AGAIN_S = 0.02
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndingSignal(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP, raised where the command is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def exit_code_of(error: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupted command: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return error.exit_code if isinstance(error, EndingSignal) else INTERRUPTED


@contextmanager
def signals_end_at_once() -> Iterator[None]:
    """End the process with a signal's exit code wherever a command is not under way: nothing is open there.

    Python's own handler would print a traceback while modules are imported, and is gone in the last part of its end.
    A signal that is ignored, as under nohup, or that has a handler of the caller's stays as it is.
    """
    with _handlers(_end_at_once):
        yield


@contextmanager
def ending_signals() -> Iterator[Interruptions]:
    """Raise EndingSignal in the main thread for SIGINT, SIGTERM and SIGHUP; one that is ignored stays so.

    What is raised inside a callback of native code, where Python drops it, is raised once more after the callback.
    """
    raising = Interruptions()
    if threading.current_thread() is not threading.main_thread():
        yield raising
        return
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = partial(_dropped, hook)
        with _handlers(raising):
            yield raising
    finally:
        sys.unraisablehook = hook


class Interruptions:
    """Handler that raises; a second signal soon after does not interrupt the cleaning up: timeout sends two."""

    def __init__(self) -> None:
        self._last = -math.inf
        self.exit_code: int | None = None
        """Of the last signal, whatever libraries made of its exception; None before the first."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise EndingSignal."""
        now = time.monotonic()
        if now - self._last > REPEATED_S:
            self._last = now
            error = EndingSignal(number)
            self.exit_code = error.exit_code
            raise error


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install a handler for each signal that has none of the caller's own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    plain = (signal.SIG_DFL, signal.default_int_handler, _end_at_once)
    before = {number: old for number in ENDING if (old := signal.getsignal(number)) in plain}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(128 + number)


def _dropped(hook: Callable[[Any], Any], dropped: Any) -> None:
    """Raise an interruption again in a moment; leave other errors that nobody can catch to ``hook``."""
    error = dropped.exc_value
    if not isinstance(error, KeyboardInterrupt) or not hasattr(signal, "setitimer"):
        hook(dropped)
        return

    def again(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, before)
        raise error

    before = signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
