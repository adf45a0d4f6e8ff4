"""Signals that end a command as Ctrl-C does: what is open is closed, what is half written is removed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 128 + 2
"""Exit code after Ctrl-C, as the shell has it."""
BROKEN_PIPE = 128 + 13
"""Exit code after a reader has gone, such as ``head``; the shell's for SIGPIPE, which Python ignores."""
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
    """Raise EndingSignal in the main thread for SIGTERM and SIGHUP; one that is ignored, as under nohup, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    installed = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in installed:
            signal.signal(number, _raise)
        yield
    finally:
        for number in installed:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    # A second one must not interrupt the cleaning up; a function, because children inherit what is ignored.
    for other in ENDING:
        if signal.getsignal(other) is _raise:
            signal.signal(other, _pass)
    raise EndingSignal(number)


def _pass(number: int, frame: FrameType | None) -> None:
    """Do nothing."""
