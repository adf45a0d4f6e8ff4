"""The colour of a face's skin over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_edge.errors import InputError
from emo_edge.inference.signals.regions import FloatArray, skin_colour
from emo_edge.media.crops import Box, Image

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SkinTrace:
    """Mean colours of one face's skin, frame by frame."""

    colours: FloatArray
    """Red, green and blue [N, 3] in grey levels."""
    times: FloatArray
    """Seconds [N], ascending, from any start."""
    lost: Flags
    """True [N] where the face was not in the frame; the colours of these frames are not read."""
    unsure: Flags
    """True [N] where another face was so near that the two may have changed places."""

    def part(self, start_s: float, end_s: float) -> SkinTrace:
        """Return the frames from ``start_s`` on and before ``end_s``."""
        chosen = (self.times >= start_s) & (self.times < end_s)
        return SkinTrace(self.colours[chosen], self.times[chosen], self.lost[chosen], self.unsure[chosen])


def skin_trace(
    frames: Iterable[Image],
    times: ArrayLike,
    *,
    boxes: Sequence[Box | None] | None = None,
    landmarks: Sequence[ArrayLike | None] | None = None,
) -> SkinTrace:
    """Return the mean colours of one face's skin over the frames of a clip.

    Args:
        frames: uint8 RGB [H, W, 3] each; they are read one after the other and not kept.
        times: seconds of the frames, ascending.
        boxes: the face in each frame, None where it is lost; its inner part is read.
        landmarks: iBUG's 68 points in each frame, or None; they come before the box.

    A frame without box and landmarks, or without a usable pixel inside them, counts as one without the face. Raises
    InputError where the numbers of frames, times, boxes and landmarks differ.
    """
    if boxes is None and landmarks is None:
        raise InputError("skin is read inside landmarks or boxes: give one of them")
    stamps = np.asarray(times, np.float64)
    rows = [
        _colour(frame, _of(boxes, row), _of(landmarks, row))
        for row, frame in enumerate(_counted(frames, boxes, landmarks))
    ]
    if stamps.shape != (len(rows),):
        raise InputError(f"{len(rows)} frames need as many times, not {list(stamps.shape)}")
    colours = np.array(rows, np.float64).reshape(-1, 3)
    return SkinTrace(colours, stamps, np.asarray(np.isnan(colours).any(axis=1)), np.zeros(len(rows), bool))


def _of(values: Sequence[Any] | None, row: int) -> Any:
    return None if values is None else values[row]


def _colour(frame: Image, box: Box | None, points: ArrayLike | None) -> FloatArray:
    return np.full(3, np.nan) if box is None and points is None else skin_colour(frame, box, points)


def _counted(frames: Iterable[Image], *lists: Sequence[object] | None) -> Iterable[Image]:
    count = 0
    for frame in frames:
        count += 1
        if any(one is not None and len(one) < count for one in lists):
            raise InputError("there are more frames than boxes or landmarks: give one a frame")
        yield frame
    if any(one is not None and len(one) != count for one in lists):
        raise InputError(f"{count} frames need as many boxes and landmarks")
