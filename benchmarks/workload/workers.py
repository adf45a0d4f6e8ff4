"""Work of many samples by several processes, in their order, a bounded number of them under way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from emo_edge.console.children import safe_path
from emo_edge.errors import DeviceError

Job = TypeVar("Job")
Result = TypeVar("Result")
CHUNK = 8
"""Jobs that a worker gets at a time."""
AHEAD = 2
"""Chunks a worker: the one under way, and one that waits."""
_compute: Callable[[Any], Any] | None = None


def computed(opened: Callable[[], Callable[[Job], Result]], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """Yield the result of each job, in their order.

    Args:
        opened: called once in each process; returns the function that does a job.
        jobs: can be sent to another process, like their results.
        workers: number of processes.

    Raises what a job raises, and DeviceError where a process ends.
    """
    coming, window = iter(jobs), deque[Future[list[Result]]]()
    context = multiprocessing.get_context("spawn")
    with safe_path(), ProcessPoolExecutor(workers, context, _open, (opened,)) as pool:
        try:
            while chunk := list(islice(coming, CHUNK)):
                window.append(pool.submit(_done, chunk))
                if len(window) >= AHEAD * workers:
                    yield from window.popleft().result()
            while window:
                yield from window.popleft().result()
        except BrokenProcessPool as error:
            raise DeviceError(
                "a worker process ended, as for lack of memory; the same command goes on, with fewer `workers`"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _open(opened: Callable[[], Callable[[Any], Any]]) -> None:
    """Open in a worker; Ctrl-C reaches every process of a terminal, and the one that waits ends the others."""
    global _compute
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _compute = opened()


def _end_with_parent() -> None:
    """End when the process that waits for the results is gone; the executor's queue would keep this one for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _done(jobs: list[Any]) -> list[Any]:
    if _compute is None:
        raise AssertionError("a worker has a job before it is open")
    return [_compute(job) for job in jobs]
