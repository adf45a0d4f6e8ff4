"""Resizing as PIL's ``Image.resize`` does it, in NumPy, bit for bit: what checkpoints trained with PIL have seen.

PIL resizes the width, rounds to 8 bits, then resizes the height. Every pixel is a weighted sum over a window that
grows with the shrinking, so that it antialiases, with weights of 22 fractional bits (Pillow ``libImaging/Resample.c``).
Such sums are exact in float64, in any order: a matrix product gives PIL's integers.

Pillow 13 resizes the height first where that is faster. Checkpoints of today were trained with older ones, so the width
comes first here, always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emo_edge.utils.opencv import open_cv2

Kernel = Literal["bicubic", "bilinear"]
Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]

WEIGHT_UNIT = 1 << 22
"""Value of one in PIL's fixed-point weights for 8 bits."""
ROWS_AT_ONCE = 8
"""Output rows of one matrix product. Of 4 to 32, 8 was the fastest for 640x480 to 224."""
BAND_VALUES = 1 << 16
"""Input values that are float64 at once, 512 KB: they stay in a core's cache. A product of so few is computed by one
thread of OpenBLAS; of twice as many it takes two, and where other work has a CPU, one waits for the other."""
HALF_UP = 2.0**-24
"""Added before OpenCV rounds halves to even: PIL rounds them up, and sums are multiples of 2^-22."""


def _bicubic(x: Values) -> Values:
    """Compute the cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.asarray(np.where(x < 1, inner, np.where(x < 2, outer, 0.0)), np.float64)


def _bilinear(x: Values) -> Values:
    """Compute the triangle kernel."""
    return np.asarray(np.maximum(1 - np.abs(x), 0.0), np.float64)


_KERNELS: dict[Kernel, tuple[Callable[[Values], Values], float]] = {
    "bicubic": (_bicubic, 2.0),
    "bilinear": (_bilinear, 1.0),
}
"""Each kernel and how far it reaches, in output pixels where the picture shrinks."""


@dataclass(frozen=True)
class _Bands:
    """The matrix [outputs, inputs] of one axis, as the blocks of its band: all else is zero."""

    first: list[int]
    """First input row of each block."""
    last: list[int]
    """Input row behind each block's last."""
    weights: Values
    """[blocks, ROWS_AT_ONCE, widest block]."""


def pil_resized(image: Pixels, width: int, height: int, kernel: Kernel) -> Pixels:
    """Resize as ``PIL.Image.resize((width, height), resample)`` does.

    Args:
        image: uint8 [H, W, 3].
        width: of the result in pixels.
        height: of the result in pixels.
        kernel: ``bicubic`` or ``bilinear``, both antialiased.

    Returns:
        uint8 [height, width, 3].
    """
    cv2 = open_cv2()
    rows, columns = image.shape[:2]
    if columns != width:
        upright = cv2.transpose(image).reshape(columns, -1)
        image = np.asarray(cv2.transpose(_resized_rows(upright, width, kernel).reshape(width, rows, 3)), np.uint8)
    if rows != height:
        image = _resized_rows(image.reshape(rows, -1), height, kernel).reshape(height, width, 3)
    return image


def _resized_rows(rows: Pixels, count: int, kernel: Kernel) -> Pixels:
    """Return [count, values] of uint8 [N, values]: each column resized on its own."""
    bands = _bands(len(rows), count, kernel)
    resized = np.empty((count, rows.shape[1]), np.uint8)
    step = max(BAND_VALUES // bands.weights.shape[2], 1)
    for start in range(0, rows.shape[1], step):
        _resize_columns(rows[:, start : start + step], bands, resized[:, start : start + step])
    return resized


def _resize_columns(columns: Pixels, bands: _Bands, resized: Pixels) -> None:
    cv2, values = open_cv2(), columns.shape[1]
    band, sums = np.empty((bands.weights.shape[2], values)), np.empty((ROWS_AT_ONCE, values))
    for block, (first, last) in enumerate(zip(bands.first, bands.last, strict=True)):
        own = band[: last - first]
        own[:] = columns[first:last]
        np.matmul(bands.weights[block, :, : last - first], own, out=sums)
        rows = resized[block * ROWS_AT_ONCE : (block + 1) * ROWS_AT_ONCE]
        rows[:] = cv2.add(sums[: len(rows)], HALF_UP, dtype=cv2.CV_8U)


@lru_cache(maxsize=32)
def _bands(inputs: int, outputs: int, kernel: Kernel) -> _Bands:
    first, last, weights = _windows(inputs, outputs, kernel)
    starts = np.arange(0, outputs, ROWS_AT_ONCE)
    begin, end = first[starts], last[np.minimum(starts + ROWS_AT_ONCE, outputs) - 1]
    block, row = np.divmod(np.arange(outputs), ROWS_AT_ONCE)
    column = (first - begin[block])[:, None] + np.arange(weights.shape[1])
    banded = np.zeros((len(starts), ROWS_AT_ONCE, int(column.max()) + 1))
    banded[block[:, None], row[:, None], column] = weights
    return _Bands(begin.tolist(), end.tolist(), banded)


def _windows(inputs: int, outputs: int, kernel: Kernel) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
    """Return first and last (exclusive) input of each output, and the weights [outputs, taps], zero behind it."""
    function, reach = _KERNELS[kernel]
    scale = inputs / outputs
    shrinking = max(scale, 1.0)
    support = reach * shrinking
    centre = (np.arange(outputs) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), inputs)
    taps = np.arange(int(np.ceil(support)) * 2 + 1)
    weights = function((taps + first[:, None] - centre[:, None] + 0.5) * (1.0 / shrinking))
    weights[taps >= (last - first)[:, None]] = 0
    # One after the other, as PIL adds: the last bit of a sum depends on the order.
    weights /= np.add.accumulate(weights, 1)[:, -1:]
    whole = np.trunc(weights * WEIGHT_UNIT + np.where(weights < 0, -0.5, 0.5))
    return first, last, whole / WEIGHT_UNIT
