"""Native engines used by one thread at a time, in the process that opened them, until they are closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emo_edge.errors import PipelineStateError

FORKED = (
    "this process was forked from one that has read with a pipeline, whose native threads did not come along: a "
    'reading would wait for ever. Start processes with multiprocessing.get_context("spawn")'
)
_read_in: int | None = None
"""Process that has read first, as far as this one knows: a forked child knows its parent's."""


def refuse_after_fork() -> None:
    """Raise PipelineStateError in a child that was forked after its parent had read: OpenMP's threads are not there."""
    if _read_in not in (None, os.getpid()):
        raise PipelineStateError(FORKED)


class ExclusiveUse:
    """A lock around engines that also knows their process and whether they are closed.

    llama.cpp aborts the whole process when two threads use one context, and neither it nor ONNX Runtime survives a
    fork: their worker threads do not exist in the child.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._in_use = self._closed = False

    def check(self) -> None:
        """Raise PipelineStateError if the engines are closed, or were opened before a fork."""
        # Before the lock is touched: in a forked child it may be held for ever by a thread that is not there.
        if os.getpid() != self._process:
            raise PipelineStateError(
                "the pipeline was opened before a fork, and its engines do not work in the child process: start "
                'processes with multiprocessing.get_context("spawn"), and open it there'
            )
        if self._closed:
            raise PipelineStateError("the pipeline is closed: open it again with EmotionPipeline.open")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other threads out of the block; raise PipelineStateError where the engines cannot be used."""
        global _read_in
        self.check()
        with self._lock:
            self.check()
            self._refuse_nested_use()
            self._in_use, _read_in = True, self._process
            try:
                yield
            finally:
                self._in_use = False

    def close(self, free: Callable[[], None]) -> None:
        """Call ``free`` once, when no thread is inside `hold`; do nothing in a forked child, which owns no engine."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._refuse_nested_use()
            self._closed = True
            free()

    def _refuse_nested_use(self) -> None:
        # The lock lets its own thread in again: a callback that reads would overwrite the prompt being answered.
        if self._in_use:
            raise PipelineStateError(
                "the pipeline is reading: `on_piece` must not use it; collect the pieces and read again afterwards"
            )
