"""Ctrl-C, SIGTERM and SIGHUP that end a command within two seconds, whatever native call it is in.

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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from emo_edge.console.signals import ENDING, POSTPONED, exit_code_of

LEFT_SECONDS = 15.0
"""For a call that was left behind to end, at the end of a user's own program: more than FFmpeg's limits. A driver that
never returns must not keep the program."""
GRACE_SECONDS = 1.0
"""For the handler: its exception closes files and ends children."""
LOOK_SECONDS = 0.02
"""Between two looks of the thread that waits for a handler."""
_behind: list[threading.Thread] = []
_last_words: list[Callable[[], None]] = []


@contextmanager
def prompt_interrupts(grace: float = GRACE_SECONDS, *, leave: bool = True) -> Iterator[None]:
    """Let the handlers of Ctrl-C, SIGTERM and SIGHUP raise, as ever; end the process where none can run in time.

    A thread waits for the signal, which runs while a native call has released Python's lock. A signal that is ignored
    or has the system's own handler stays as it is. In another thread than the main one, where no handler can be set,
    nothing changes.

    Args:
        grace: seconds for the handler.
        leave: True ends the process as soon as everything inside has closed. Taking down PyTorch's modules one by one
            takes it two seconds more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # No threading.Event: a second signal inside `Event.set` would wait for the lock that its own thread holds.
    raised = list[int]()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    handlers = {number: handler for number in ENDING if callable(handler := signal.getsignal(number))}
    for number, handler in handlers.items():
        signal.signal(number, _noting(raised, handler))
    wakeup = signal.set_wakeup_fd(sender.fileno())
    watcher = threading.Thread(target=_watch, args=(receiver, raised, grace), name="interrupts", daemon=True)
    watcher.start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as ended:
        if leave and raised:
            _leave(ended)
        raise
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sender.close()  # ends the thread
        watcher.join()
        receiver.close()


@contextmanager
def last_words(call: Callable[[], None]) -> Iterator[None]:
    """Call ``call`` before a native call is left for good, so that what was printed so far is whole.

    It runs in another thread, while the main one is in that native call.
    """
    _last_words.append(call)
    try:
        yield
    finally:
        _last_words.remove(call)


def _noting(raised: list[int], handler: Callable[[int, FrameType | None], Any]) -> Callable[..., Any]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        waits = False
        try:
            waits = handler(number, frame) is POSTPONED
        finally:
            if not waits:
                raised.append(number)

    return interrupt


def _watch(receiver: socket.socket, raised: list[int], grace: float) -> None:
    while numbers := receiver.recv(64):
        ending = [number for number in numbers if number in ENDING]
        if ending and not _comes(raised, grace):
            for call in _last_words:
                with suppress(Exception):
                    call()
            _say_interrupted()
            os._exit(128 + ending[0])


def _comes(raised: list[int], seconds: float) -> bool:
    """Wait until a handler has run, for so many seconds at most."""
    until = time.monotonic() + seconds
    while not raised and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return bool(raised)


@contextmanager
def own_handlers() -> Iterator[None]:
    """Leave signals to the handlers that are set inside, such as a server's: no thread ends the process after them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)


def _no_wakeup() -> None:
    """Keep the signals of a forked child from its parent's thread."""
    with suppress(ValueError):  # not the main thread
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_no_wakeup)


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
        _end(code)


def end_process(code: int) -> None:
    """End the process of a command that is done; do nothing where a thread works on, for which Python would wait.

    Taking down the interpreter, PyTorch and the engines takes seconds, and a signal meanwhile kills it.
    """
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        _end(code)


def _end(code: int) -> NoReturn:
    """End as the interpreter does, without taking down its modules, and without waiting for calls left behind."""
    atexit.unregister(_wait)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _wait() -> None:
    for thread in _behind:
        thread.join(LEFT_SECONDS)


def _leave(ended: KeyboardInterrupt | SystemExit) -> NoReturn:
    if isinstance(ended, KeyboardInterrupt):
        _say_interrupted()
        _end(exit_code_of(ended))
    _end(code_of(ended))


def code_of(ended: SystemExit) -> int:
    """Return the exit code of a program that ends."""
    return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def _say_interrupted() -> None:
    with suppress(OSError, ValueError):
        print("interrupted", file=sys.stderr, flush=True)
