"""Signals that end a command as Ctrl-C does: what is open is closed, what is half written is removed."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

INTERRUPTED = 128 + 2
"""Exit code after Ctrl-C, as the shell has it."""
BROKEN_PIPE = 128 + 13
"""Exit code after a reader has gone, such as ``head``; the shell's for SIGPIPE, which Python ignores."""
REPEATED_S = 2.0
AGAIN_S = 0.02
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndingSignal(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised where the command is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def exit_code_of(error: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupted command: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return error.exit_code if isinstance(error, EndingSignal) else INTERRUPTED


@contextmanager
def ending_signals() -> Iterator[None]:
    """Raise EndingSignal in the main thread for SIGTERM and SIGHUP; one that is ignored, as under nohup, stays so.

    What is raised inside a callback of native code, where Python drops it, is raised once more after the callback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    installed = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    hook, raising = sys.unraisablehook, _Raising()
    try:
        sys.unraisablehook = partial(_dropped, hook)
        for number in installed:
            signal.signal(number, raising)
        yield
    finally:
        sys.unraisablehook = hook
        for number in installed:
            signal.signal(number, signal.SIG_DFL)


class _Raising:
    """Handler that raises; a second signal soon after does not interrupt the cleaning up: timeout sends two."""

    def __init__(self) -> None:
        self._last = -math.inf

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last > REPEATED_S:
            self._last = now
            raise EndingSignal(number)


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
