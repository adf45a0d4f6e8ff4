"""Let the disk and the processor work at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def computed_ahead(compute: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``compute(item)`` in order; while the caller uses one result, a thread computes the next, and no more.

    What ``compute`` raises is raised here, after the results before it.
    """
    with ThreadPoolExecutor(1) as thread:
        coming: Future[Result] | None = None
        for item in items:
            ready, coming = coming, thread.submit(compute, item)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
