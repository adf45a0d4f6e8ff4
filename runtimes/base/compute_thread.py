"""A thread of its own for llama.cpp's products on the matrix units (AMX) of a CPU.

llama.cpp sets up the tiles of a thread once and never looks again. A library that computes in bfloat16 or INT8 in the
same thread, such as OpenVINO or PyTorch, releases them: llama.cpp's next product then ends the process with SIGILL. In
a thread where no other library computes, the tiles stay as they are; OpenMP's helpers belong to that thread alone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class ComputeThread:
    """Runs work in a thread of its own, or in the caller's where none is wanted; a context manager."""

    def __init__(self, wanted: bool) -> None:
        """Start nothing yet."""
        self._threads = ThreadPoolExecutor(1, "llama.cpp") if wanted else None

    def __call__(self, work: Callable[[], Result]) -> Result:
        """Return what ``work`` returns; an interruption of the caller is raised once the work has ended.

        Whoever is interrupted closes its context, which must not be in use then.
        """
        if self._threads is None:
            return work()
        future = self._threads.submit(work)
        interruption = _ended(future)
        if interruption is not None:
            raise interruption
        return future.result()

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        if self._threads is not None:
            self._threads.shutdown()

    def __enter__(self) -> ComputeThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ended(future: Future[Any]) -> BaseException | None:
    """Wait until the work has ended; return what interrupted the waiting, the first of several."""
    interruption: BaseException | None = None
    while True:
        try:
            wait([future])
        except BaseException as error:
            interruption = interruption or error
        else:
            return interruption
