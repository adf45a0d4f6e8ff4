"""Crop a face from a frame as in the training of the two networks.

The reference model and the device call these same functions, so a crop never differs between them.
Normalisation is not done here: it is part of each network's graph, which takes uint8 images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.media.resampling import Kernel, pil_resized
from emo_edge.utils.opencv import open_cv2

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Resample = Literal["opencv_area_cubic", "opencv_linear", "pil_bicubic", "pil_bilinear"]
"""Resizing of a crop. ``opencv_area_cubic`` averages areas when shrinking and is cubic when not; ``opencv_linear`` is
OpenCV's default, which never antialiases; PIL's always do."""
MAX_SQUARE = 250_000_000
"""Pixels of a padded square, 750 MB: a 64-megapixel panorama of 4:1 still fits."""


@dataclass(frozen=True)
class Crop:
    """A square network input and its region in the frame."""

    pixels: Image
    """uint8 RGB [size, size, 3]."""
    region: Box
    """x0, y0, x1, y1 in frame pixels; may reach outside the frame where padding was added."""

    def to_frame(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Map points [..., 2] from the network's [-1, 1] (FaceXFormer's convention) to frame pixels."""
        x0, y0, x1, y1 = self.region
        unit = (np.asarray(points, np.float32) + 1) / 2
        return np.asarray(unit * (x1 - x0, y1 - y0) + (x0 - 0.5, y0 - 0.5), np.float32)

    def from_frame(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Map points [..., 2] from frame pixels to the network's [-1, 1]; the inverse of `to_frame`."""
        x0, y0, x1, y1 = self.region
        unit = (np.asarray(points, np.float32) + 0.5 - (x0, y0)) / (x1 - x0, y1 - y0)
        return np.asarray(unit * 2 - 1, np.float32)


def face_crop(
    frame: Image, box: Box | None, *, margin: float, size: int, resample: Resample = "opencv_area_cubic"
) -> Crop:
    """Crop as FaceXFormer's inference does: box grown by ``margin`` a side, clipped, stretched to a square.

    Args:
        frame: uint8 RGB [H, W, 3].
        box: face in frame pixels (x0, y0, x1, y1); None takes the whole frame.
        margin: fraction of the box's width and height added on each side.
        size: side of the result in pixels.
        resample: what the network was trained with.
    """
    region = _grown_region(frame, box, margin)
    x0, y0, x1, y1 = (int(value) for value in region)
    return Crop(_RESIZERS[resample](frame[y0:y1, x0:x1], size, size), region)


def padded_crop(
    frame: Image,
    box: Box | None,
    *,
    margin: float,
    size: int,
    fill: tuple[float, float, float],
    resample: Resample = "opencv_area_cubic",
) -> Crop:
    """Crop as LLaMA-VID's training does: grown and clipped, then padded to a square with the mean colour.

    ``fill`` is the normalisation mean in [0, 1]; other arguments as in `face_crop`.
    """
    x0, y0, x1, y1 = (int(value) for value in _grown_region(frame, box, margin))
    square = _filled_square(x1 - x0, y1 - y0, fill)
    side = len(square)
    left, top = (side - (x1 - x0)) // 2, (side - (y1 - y0)) // 2
    square[top : top + y1 - y0, left : left + x1 - x0] = frame[y0:y1, x0:x1]
    return Crop(_RESIZERS[resample](square, size, size), (x0 - left, y0 - top, x0 - left + side, y0 - top + side))


def square_crop(
    frame: Image,
    box: Box | None,
    *,
    margin: float,
    size: int,
    fill: tuple[float, float, float],
    resample: Resample = "opencv_area_cubic",
) -> Crop:
    """Crop as small expression networks are trained: grown, its shorter side lengthened to a square around its middle.

    What the square holds outside the frame has the colour ``fill`` in [0, 1]; other arguments as in `face_crop`.
    """
    left, top, right, bottom = (int(value) for value in _grown_region(frame, box, margin))
    square = _filled_square(right - left, bottom - top, fill)
    side = len(square)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    square[y0 - y : y1 - y, x0 - x : x1 - x] = frame[y0:y1, x0:x1]
    return Crop(_RESIZERS[resample](square, size, size), (x, y, x + side, y + side))


def centred_crop(
    frame: Image, box: Box | None, *, margin: float, size: int, resample: Resample = "opencv_area_cubic"
) -> Crop:
    """Crop as CLIP's processor does alone: grown and clipped, its shorter side resized, the middle square of that.

    Arguments as in `face_crop`. Raises InputError for a region so long that resizing it would take too much memory.
    """
    x0, y0, x1, y1 = (int(value) for value in _grown_region(frame, box, margin))
    width, height = x1 - x0, y1 - y0
    shorter = min(width, height)
    wide, high = int(size * width / shorter), int(size * height / shorter)
    if wide * high > MAX_SQUARE:
        raise InputError(f"a region of {width}x{height} pixels is too long to be resized: give a `face_box` inside it")
    left, top = (wide - size) // 2, (high - size) // 2
    resized = _RESIZERS[resample](frame[y0:y1, x0:x1], wide, high)
    x, y = x0 + left * width / wide, y0 + top * height / high
    region = (x, y, x + size * width / wide, y + size * height / high)
    return Crop(np.ascontiguousarray(resized[top : top + size, left : left + size]), region)


def checked_frame(frame: Any) -> Image:
    """Return ``frame`` if it is a uint8 RGB array [H, W, 3] with at least one pixel; raise InputError if not."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        given = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise InputError(f"a frame is a uint8 RGB array [height, width, 3], not {given}")
    if frame.size == 0:
        raise InputError(f"a frame needs at least one pixel, this one is {list(frame.shape)}")
    return frame


def _grown_region(frame: Image, box: Box | None, margin: float) -> Box:
    height, width = checked_frame(frame).shape[:2]
    if box is None:
        return (0, 0, width, height)
    try:
        x0, y0, x1, y1 = (float(value) for value in box)
    except (TypeError, ValueError) as error:
        raise InputError(f"a face box is four numbers x0, y0, x1, y1, not {box!r}") from error
    if not np.isfinite([x0, y0, x1, y1, x1 - x0, y1 - y0]).all() or x1 <= x0 or y1 <= y0:
        raise InputError(f"a face box is x0, y0, x1, y1 with x1 > x0 and y1 > y0, not {tuple(box)}")
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise InputError(f"face box {tuple(box)} lies outside the {width}x{height} frame")
    grow_x, grow_y = (x1 - x0) * margin, (y1 - y0) * margin
    left, top = int(max(x0 - grow_x, 0)), int(max(y0 - grow_y, 0))
    right, bottom = int(min(x1 + grow_x, width)), int(min(y1 + grow_y, height))
    return (left, top, max(right, left + 1), max(bottom, top + 1))


def _filled_square(width: int, height: int, fill: tuple[float, float, float]) -> Image:
    """Return the square around a region of this size; raise InputError where it would be too large."""
    side = max(width, height)
    if side * side > MAX_SQUARE:
        raise InputError(f"a region of {width}x{height} pixels is too long for a square: give a `face_box` inside it")
    square = np.empty((side, side, 3), np.uint8)
    square[:] = [int(channel * 255) for channel in fill]
    return square


def _area_cubic(image: Image, width: int, height: int) -> Image:
    """Average areas when shrinking, because OpenCV's bicubic does not antialias."""
    cv2 = open_cv2()
    shrinking = image.shape[0] > height and image.shape[1] > width
    interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def _linear(image: Image, width: int, height: int) -> Image:
    cv2 = open_cv2()
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _as_pil(image: Image, width: int, height: int, kernel: Kernel) -> Image:
    return pil_resized(np.ascontiguousarray(image), width, height, kernel)


_RESIZERS: dict[Resample, Callable[[Image, int, int], Image]] = {
    "opencv_area_cubic": _area_cubic,
    "opencv_linear": _linear,
    "pil_bicubic": partial(_as_pil, kernel="bicubic"),
    "pil_bilinear": partial(_as_pil, kernel="bilinear"),
}
"""Resize to a width and a height: uint8 [height, width, 3]."""
