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
POSTPONED = object()
"""Returned by a handler that will raise later."""
REPEATED_S = 2.0
AGAIN_S = 0.02
IMPORTING = "<frozen importlib._bootstrap>"
"""File of the frames of an import."""
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndingSignal(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP, raised where the command is."""

    def __init__(self, number: int, lost: Callable[[], None] = lambda: None) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        self.accepted = False
        """True once the code that ends the command has it."""
        self._lost = lost

    def __del__(self) -> None:
        """Report an interruption that nobody accepted: a bare ``except:`` of a library has dropped it."""
        if not self.accepted:
            self._lost()


def exit_code_of(error: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupted command: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Whoever asks ends the command: the interruption is not raised again.
    """
    if not isinstance(error, EndingSignal):
        return INTERRUPTED
    error.accepted = True
    return error.exit_code


def interruption_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interruption that a library has turned into another error; None where there is none."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


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

    What a library drops, or Python inside a callback of native code, is raised once more in a moment.
    """
    interruptions = Interruptions()
    if threading.current_thread() is not threading.main_thread():
        yield interruptions
        return
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = partial(_unraisable, hook)
        with _handlers(interruptions):
            yield interruptions
    finally:
        interruptions.close()
        sys.unraisablehook = hook


class Interruptions:
    """Handler that raises; a second signal soon after does not interrupt the cleaning up: timeout sends two.

    Nothing is raised inside an import: libraries drop it there, turn it into another error, or abort the process.
    """

    def __init__(self) -> None:
        self._last, self._number = -math.inf, 0
        self._closed = self._again = False
        self._alarm: Any = None
        self.exit_code: int | None = None
        """Of the last signal, whatever libraries made of its exception; None before the first."""

    def __call__(self, number: int, frame: FrameType | None) -> object:
        """Raise EndingSignal, or return `POSTPONED` and try again in a moment."""
        now = time.monotonic()
        if self._again or now - self._last > REPEATED_S:
            self._again, self._last, self._number = False, now, number
            self.exit_code = 128 + number
            if self._alarm is None and hasattr(signal, "setitimer"):
                self._alarm = signal.signal(signal.SIGALRM, self._send_again)
            if self._alarm is not None and _is_importing(frame):
                self._lost()
                return POSTPONED
            # No variable may hold it: with its own frame it would be a cycle, which only the collector ends.
            raise EndingSignal(number, self._lost)
        return None

    def close(self) -> None:
        """Raise nothing more."""
        self._closed = True
        if self._alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._alarm)

    def _lost(self) -> None:
        """Wake the main thread in a moment, when it is out of the code that dropped the exception."""
        if not self._closed and self._alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)

    def _send_again(self, number: int, frame: FrameType | None) -> None:
        if not self._closed:
            self._again = True
            os.kill(os.getpid(), self._number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
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


def _unraisable(hook: Callable[[Any], Any], dropped: Any) -> None:
    """Leave errors that nobody can catch to ``hook``; an interruption is raised again when it is gone."""
    if not isinstance(dropped.exc_value, EndingSignal):
        hook(dropped)
