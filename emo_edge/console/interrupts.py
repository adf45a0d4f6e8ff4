"""Ctrl-C that ends a command within two seconds, whatever native call it is in.

Python runs a signal's handler between two of its own instructions. A call into an engine has none: llama.cpp quantizes
a model of 7B for minutes. Whatever a command writes is whole only at its end, so that it may be left at any moment.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

GRACE_SECONDS = 1.0
"""For the handler: its exception closes files and ends children."""
INTERRUPTED = 128 + signal.SIGINT
_behind: list[threading.Thread] = []


@contextmanager
def prompt_interrupts(grace: float = GRACE_SECONDS, *, leave: bool = True) -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, as ever; end the process where that is not possible within ``grace`` seconds.

    A thread waits for the signal, which runs while a native call has released Python's lock. In another thread than
    the main one, where no handler can be set, nothing changes.

    Args:
        grace: seconds for the handler.
        leave: True ends the process as soon as everything inside has closed. Taking down PyTorch's modules one by one
            takes it two seconds more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raised.set()
        signal.default_int_handler(number, frame)

    previous, wakeup = signal.signal(signal.SIGINT, interrupt), signal.set_wakeup_fd(sender.fileno())
    watcher = threading.Thread(target=_watch, args=(receiver, raised, grace), name="interrupts", daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if leave and raised.is_set():
            _leave()
        raise
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, previous)
        sender.close()  # ends the thread
        watcher.join()
        receiver.close()


def _watch(receiver: socket.socket, raised: threading.Event, grace: float) -> None:
    while numbers := receiver.recv(64):
        if signal.SIGINT in numbers and not raised.wait(grace):
            _end()


def leave_behind(thread: threading.Thread) -> None:
    """Note a thread whose native call an interruption left under way.

    Libraries crash where the interpreter is taken down around such a call: the process waits for it, unless
    `end_without_waiting` ends it first.
    """
    if not _behind:
        atexit.register(_wait)
    _behind.append(thread)


def end_without_waiting(code: int) -> None:
    """End the process with an exit code if a call that was left behind is still under way; else do nothing."""
    atexit.unregister(_wait)
    if any(thread.is_alive() for thread in _behind):
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)


def _wait() -> None:
    for thread in _behind:
        thread.join()


def _leave() -> NoReturn:
    """End as the interpreter does, without taking down its modules."""
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    _end()


def _end() -> NoReturn:
    with suppress(OSError, ValueError):
        print("interrupted", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)
