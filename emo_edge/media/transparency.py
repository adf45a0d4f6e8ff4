"""Transparent pixels: every decoder's are laid over white, as a viewer shows them; the colour below is arbitrary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emo_edge.media.crops import Image
from emo_edge.utils.opencv import open_cv2

BAND = 1 << 20
"""Pixels that are computed at once: a large picture needs no second copy of itself."""


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a picture, so many at once that they hold about `BAND` pixels."""
    rows = max(1, BAND // max(width, 1))
    for top in range(0, height, rows):
        yield slice(top, top + rows)


def over_white(pixels: Image, *, blue_first: bool = False) -> Image:
    """Lay uint8 RGBA pixels [H, W, 4] over white; returns RGB [H, W, 3].

    ``blue_first`` takes BGRA, as OpenCV and many video decoders give it. Colours are not premultiplied.
    """
    cv2 = open_cv2()
    image = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in row_bands(*image.shape[:2]):
        band = np.ascontiguousarray(pixels[rows])
        image[rows] = cv2.cvtColor(band, cv2.COLOR_BGRA2RGB if blue_first else cv2.COLOR_RGBA2RGB)
        if band[..., 3].min(initial=255) < 255:
            # 255 - (255 - colour) * alpha / 255, rounded: no product of two bytes is half way between two results.
            alpha = cv2.merge([cv2.extractChannel(band, 3)] * 3)
            image[rows] = ~cv2.multiply(~image[rows], alpha, scale=1 / 255)
    return image
