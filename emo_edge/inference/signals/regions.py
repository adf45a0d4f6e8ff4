"""Skin of a face in a frame: its region, and the mean colour of the pixels that are neither dark nor saturated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_edge.errors import InputError
from emo_edge.media.crops import Box, Image, checked_frame

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
INNER_WIDTH, INNER_HEIGHT = 0.6, 0.8
"""Part of a face's box that is mostly skin: the middle 60 % of its width as Poh, McDuff and Picard (Optics Express 18,
2010), who take its whole height; a tenth is left out above and below, because ours reaches from forehead to chin."""
DARK, SATURATED = 15, 250
"""A pixel without any channel above `DARK`, or with one from `SATURATED` on, is left out: hair, pupils and nostrils
have no pulse, and a channel that is full shows none. Both bounds are far from skin's own levels, because pixels that
cross a bound with each beat would distort the mean."""
POINTS = 68
"""Of iBUG's landmarks: jaw, brows, nose, eyes, mouth."""
OUTLINE = (*range(17), *range(26, 16, -1))
HOLES = (tuple(range(36, 42)), tuple(range(42, 48)), tuple(range(48, 60)))
"""Both eyes and the mouth."""
SHRUNK, GROWN = 0.92, 1.25
"""Factors of the outline and of its holes around their middles: landmarks are a pixel or two off."""


def inner_box(box: Box) -> Box:
    """Return the inner part of a face's box, which is mostly skin."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * (1 - INNER_WIDTH) / 2, (y1 - y0) * (1 - INNER_HEIGHT) / 2
    return (x0 + across, y0 + down, x1 - across, y1 - down)


def skin_polygons(landmarks: ArrayLike) -> tuple[FloatArray, tuple[FloatArray, ...]]:
    """Return the outline of the skin from jaw to brows, and the holes in it: eyes and mouth.

    Args:
        landmarks: x, y of iBUG's 68 points in frame pixels; integers are pixel centres.

    Raises InputError for another number of points or points that are not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise InputError(f"landmarks are the {POINTS} finite points x, y of iBUG, not {list(points.shape)}")
    return _scaled(points[list(OUTLINE)], SHRUNK), tuple(_scaled(points[list(hole)], GROWN) for hole in HOLES)


def polygon_mask(height: int, width: int, *polygons: FloatArray) -> Mask:
    """Return the pixels [height, width] whose centres lie inside one of some polygons [K, 2], by the even-odd rule."""
    x0, y0 = np.concatenate(polygons).T
    x1, y1 = np.concatenate([np.roll(points, -1, axis=0) for points in polygons]).T
    rows = np.arange(height)[:, None]
    crossed, edges = np.nonzero((y0 <= rows) != (y1 <= rows))
    along = (crossed - y0[edges]) / (y1[edges] - y0[edges])
    first = np.clip(np.ceil(x0[edges] + along * (x1[edges] - x0[edges])), 0, width).astype(np.int64)
    toggles = np.bincount(crossed * (width + 1) + first, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(np.cumsum(toggles[:, :width], axis=1) % 2 == 1)


def skin_colour(frame: Image, box: Box | None = None, landmarks: ArrayLike | None = None) -> FloatArray:
    """Return the mean red, green and blue of a face's skin in grey levels; NaN where no pixel of it is usable.

    Args:
        frame: uint8 RGB [H, W, 3].
        box: the face in frame pixels; its `inner_box` is read where there are no landmarks.
        landmarks: iBUG's 68 points; the polygon from jaw to brows is read, without eyes and mouth.

    Raises InputError for a frame, box or landmarks that are none.
    """
    checked = checked_frame(frame)
    if landmarks is None and box is None:
        raise InputError("skin is read inside landmarks or a box: give one of them")
    polygons = None if landmarks is None else skin_polygons(landmarks)
    x0, y0, x1, y1 = _window(checked, _inner(box) if polygons is None else _bounds(polygons[0]))
    pixels = checked[y0:y1, x0:x1]
    brightest = pixels.max(axis=2, initial=0)
    usable = (brightest > DARK) & (brightest < SATURATED)
    if polygons is not None and usable.size:
        corner = np.array([x0, y0])
        usable &= polygon_mask(y1 - y0, x1 - x0, polygons[0] - corner)
        usable &= ~polygon_mask(y1 - y0, x1 - x0, *(hole - corner for hole in polygons[1]))
    if not usable.any():
        return np.full(3, np.nan)
    return np.asarray(pixels[usable].mean(axis=0, dtype=np.float64))


def _inner(box: Box | None) -> Sequence[float]:
    values = np.asarray(box, np.float64)
    if values.shape != (4,) or not np.isfinite(values).all() or values[2] <= values[0] or values[3] <= values[1]:
        raise InputError(f"a face box is x0, y0, x1, y1 with x1 > x0 and y1 > y0, not {box}")
    x0, y0, x1, y1 = (float(value) for value in values)
    return inner_box((x0, y0, x1, y1))


def _bounds(points: FloatArray) -> Sequence[float]:
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    return [*low.tolist(), *high.tolist()]


def _window(frame: Image, bounds: Sequence[float]) -> tuple[int, int, int, int]:
    """Return whole pixels inside the frame; an empty window where the region is outside."""
    height, width = frame.shape[:2]
    x0, x1 = (int(np.clip(round(value), 0, width)) for value in (bounds[0], bounds[2]))
    y0, y1 = (int(np.clip(round(value), 0, height)) for value in (bounds[1], bounds[3]))
    return x0, y0, max(x1, x0), max(y1, y0)


def _scaled(points: FloatArray, factor: float) -> FloatArray:
    middle = points.mean(axis=0)
    return np.asarray(middle + (points - middle) * factor)
