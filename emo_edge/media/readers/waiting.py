"""Native calls that wait for a stream, in a thread of their own: Ctrl-C ends the wait, whatever the call still does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from emo_edge.console.interrupts import leave_behind

Value = TypeVar("Value")
LOOK_S = 0.2
"""Between two looks for a signal, where another thread than the main one got it."""


class WaitingThread:
    """Runs one call after another.

    An interrupted call goes on until the library's own time limit, and what comes of it is dropped. A command ends
    meanwhile; the interpreter of a user's own program waits for it.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = False

    def run(self, call: Callable[[], Value]) -> Value:
        """Return what ``call`` returns, or raise its error; KeyboardInterrupt comes without waiting for it."""
        answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def answered() -> None:
            try:
                answers.put((call(), None))
            except BaseException as error:
                answers.put((None, error))

        self._start()
        self._waiting = True
        self._calls.put(answered)
        while True:
            try:
                value, error = answers.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            self._waiting = False
            if error is not None:
                raise error
            return value  # type: ignore[no-any-return]

    def close(self, last: Callable[[], None] = lambda: None) -> None:
        """End the thread after ``last``; nothing waits for it where an interrupted call is still under way."""
        self._calls.put(last)
        self._calls.put(None)
        thread = self._start()
        if self._waiting:
            leave_behind(thread)
        else:
            thread.join()

    def _start(self) -> threading.Thread:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stream", daemon=True)
            self._thread.start()
        return self._thread

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
