"""How fast the machine is just now: one fixed product, timed among the readings.

On a shared machine a core may be slow for minutes. Two reports tell that from a slower program by this: the product is
the same in both, whatever was measured beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

Pulse = Callable[[], list[float]]
"""Milliseconds of some products in a row."""
SIDE, CALLS = 768, 5


def product_pulse(threads: int | None) -> Pulse:
    """Make the pulse: float32 products in PyTorch, on as many threads as the engines have; None takes all."""
    import torch

    matrix = torch.full((SIDE, SIDE), 1 / SIDE)
    product = partial(torch.mm, matrix, matrix, out=torch.empty_like(matrix))

    def timed() -> list[float]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            product()
            found = []
            for _ in range(CALLS):
                started = time.perf_counter()
                product()
                found.append(1000 * (time.perf_counter() - started))
            return found
        finally:
            torch.set_num_threads(before)

    return timed
