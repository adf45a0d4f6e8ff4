"""Drawing surface: the RGB image, the parsing map and the mask of what lies over the face, drawn together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.geometry import FloatArray

Colour = tuple[int, int, int]
_SHIFT = 4


def fixed(points: FloatArray) -> NDArray[np.int32]:
    """Turn pixel coordinates into OpenCV's fixed-point form (integers are pixel centres)."""
    return np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def blend(a: Colour, b: Colour, t: float) -> Colour:
    """Mix two RGB colours, `t` = 1 gives `b`."""
    r, g, bl = (round(x + (y - x) * t) for x, y in zip(a, b, strict=True))
    return (r, g, bl)


def ribbon(points: FloatArray, widths: FloatArray) -> FloatArray:
    """Thicken a curve [n,2] into an outline [2n,2]; `widths` [n] are full widths in pixels."""
    step = points[1:] - points[:-1]
    tangent = np.concatenate([step[:1], step[1:] + step[:-1], step[-1:]])
    length = np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)
    offset = tangent[:, ::-1] * (-0.5, 0.5) * (widths / length)[:, None]
    return np.concatenate([points + offset, (points - offset)[::-1]])


@dataclass
class Canvas:
    """`image` uint8 [size,size,3] RGB, `parsing` uint8 [size,size], `cover` uint8 [size,size] (255 hides the face)."""

    image: NDArray[np.uint8]
    parsing: NDArray[np.uint8]
    cover: NDArray[np.uint8]

    def fill(self, points: FloatArray, colour: Colour, label: int | None = None, *, covers: bool = False) -> None:
        """Fill a polygon [n,2]; `label` also marks the parsing map, `covers` the cover mask."""
        import cv2

        corners = [fixed(points)]
        cv2.fillPoly(self.image, corners, colour, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.fillPoly(self.parsing, corners, label, cv2.LINE_8, _SHIFT)
        if covers:
            cv2.fillPoly(self.cover, corners, 255, cv2.LINE_8, _SHIFT)

    def stroke(self, points: FloatArray, colour: Colour, width: float, *, taper: bool = True) -> None:
        """Draw a curve [n,2], `width` pixels wide at its middle, ends tapered."""
        along = np.linspace(0.0, 1.0, len(points))
        profile = np.sin(np.pi * np.clip(along, 0.04, 0.96)) ** 0.6 if taper else np.ones(len(points))
        self.fill(ribbon(points, profile * width), colour)

    def mark(self, points: FloatArray, label: int) -> None:
        """Mark a polygon [n,2] in the parsing map only."""
        import cv2

        cv2.fillPoly(self.parsing, [fixed(points)], label, cv2.LINE_8, _SHIFT)

    def paint_through(self, outline: FloatArray, base: Colour, parts: list[tuple[FloatArray, Colour]]) -> None:
        """Paint `parts` over a `base` colour, letting only the opening `outline` [n,2] through, edges smooth."""
        import cv2

        size = self.image.shape[0]
        low = np.clip(np.floor(outline.min(axis=0)).astype(int) - 2, 0, size - 1)
        high = np.clip(np.ceil(outline.max(axis=0)).astype(int) + 3, low + 1, size)
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        patch = np.full((*(high - low)[::-1], 3), base, np.uint8)
        for points, colour in parts:
            cv2.fillPoly(patch, [fixed(points - low)], colour, cv2.LINE_AA, _SHIFT)
        mask = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed(outline - low)], 255, cv2.LINE_AA, _SHIFT)
        alpha = mask[..., None].astype(np.float32) * (1 / 255.0)
        under = self.image[window].astype(np.float32)
        self.image[window] = (under + (patch - under) * alpha + 0.5).astype(np.uint8)

    def mask(self, points: FloatArray) -> NDArray[np.uint8]:
        """Rasterise a polygon into an anti-aliased mask [size,size] of 0..255."""
        import cv2

        mask = np.zeros(self.parsing.shape, np.uint8)
        cv2.fillPoly(mask, [fixed(points)], 255, cv2.LINE_AA, _SHIFT)
        return mask
