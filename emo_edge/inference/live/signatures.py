"""Small pictures of faces, which tell whether a face has changed since it was read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_edge.media.crops import Box, Image
from emo_edge.utils.opencv import open_cv2

SIDE = 48
UNCHANGED = 2.0
"""Mean difference of grey, of 255, below which a face is unchanged; the default of bundles that have none."""
Signature = NDArray[np.int16]


def signature(frame: Image, box: Box) -> Signature | None:
    """Return the face in ``box`` in 48 x 48 greys; None where the box shows nothing of the frame."""
    height, width = frame.shape[:2]
    x0, x1 = (int(min(max(round(value), 0), width)) for value in (box[0], box[2]))
    y0, y1 = (int(min(max(round(value), 0), height)) for value in (box[1], box[3]))
    if x1 <= x0 or y1 <= y0:
        return None
    cv2 = open_cv2()
    small = cv2.resize(frame[y0:y1, x0:x1], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.int16)


def difference(now: Signature, read: Signature) -> float:
    """Return the mean difference of two small pictures, of 255."""
    return float(np.abs(now - read).mean())
