"""A histogram of magnitudes that grows with its values, in constant memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError

BINS = 8192
LEAST_EXPONENT = -100
CHUNK = 1 << 20
"""Values counted at once, so that temporaries stay small against the activation itself."""


class MagnitudeHistogram:
    """Counts of |x| in `BINS` equal bins of [0, 2 ** exponent), the least power of two above the largest value.

    A larger value merges neighbouring bins. Widths are powers of two, so the result is the same to the bit however
    the values are cut into arrays and in whatever order they come.
    """

    def __init__(
        self, exponent: int = LEAST_EXPONENT, peak: float = 0.0, counts: NDArray[np.int64] | None = None
    ) -> None:
        self.exponent, self.peak = exponent, peak
        self.counts = np.zeros(BINS, np.int64) if counts is None else counts

    @property
    def width(self) -> float:
        """Width of one bin."""
        return math.ldexp(1.0, self.exponent) / BINS

    @property
    def total(self) -> int:
        """Number of values counted."""
        return int(self.counts.sum())

    def add(self, values: NDArray[Any]) -> None:
        """Count float values of any shape; raise InputError if one is not finite, and count none of them then."""
        flat = np.abs(np.asarray(values, np.float32).reshape(-1))
        if not flat.size:
            return
        peak = float(flat.max())
        if not math.isfinite(peak):
            raise InputError(f"{int((~np.isfinite(flat)).sum())} of {flat.size} values are not finite")
        self._grow(math.frexp(peak)[1] if peak else LEAST_EXPONENT)
        self.peak = max(self.peak, peak)
        # A power of two, so the product is exact and no value reaches the end of the last bin.
        scale = np.float32(1 / self.width)
        for start in range(0, flat.size, CHUNK):
            bins = (flat[start : start + CHUNK] * scale).astype(np.int32)
            self.counts += np.bincount(bins, minlength=BINS)

    def merge(self, other: MagnitudeHistogram) -> None:
        """Count what ``other`` counted."""
        self._grow(other.exponent)
        self.peak = max(self.peak, other.peak)
        self.counts += _merged(other.counts, self.exponent - other.exponent)

    def _grow(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.counts = _merged(self.counts, exponent - self.exponent)
            self.exponent = exponent


def _merged(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    step = 1 << min(doublings, BINS.bit_length() - 1)
    merged = np.zeros(BINS, np.int64)
    merged[: BINS // step] = counts.reshape(-1, step).sum(1)
    return merged
