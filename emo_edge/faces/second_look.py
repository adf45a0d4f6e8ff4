"""A second look at a picture or a clip in which nothing was found, or nothing surely: turned, and with a border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.faces.detector import DetectedFace, FaceDetector, box_area, shrunk
from emo_edge.media.crops import Box, Image

SEARCHED_TWICE = {"mtcnn": (0.985, 0.99), "yunet": (0.9, 0.9)}
"""Detectors whose score tells a face from a chance pattern. A cascade's false boxes would outnumber its faces.

A turned face is often found as it lies, with the points of an upright one, but with a lower score. So a picture whose
surest face is below the first score is searched turned, too, and counts as turned where that finds one from the second
score on. ``emo-edge detector measure`` counts what is read upright: see ``docs/results/detectors.md``."""
GAIN = 0.03
"""Least gain of the surest score for which a picture with faces is turned; near 1, half of what is missing."""
BORDER = 0.5
"""Width of the border in longer sides of the picture: a face that fills the picture then has surroundings."""
FILLED = 0.3
"""Least part of the picture that a face found with a border covers: it is a crop of one face."""
CROP_SIDE, CROP_RATIO = 400, 1.5
"""Longest side in pixels, and longest of sides by shortest, of a picture that looks like the crop of one face."""
SURE = 0.9
"""Least score of a face that is found only when the picture is turned."""


@dataclass(frozen=True)
class SecondLook:
    """Faces that were found at the second look, in the picture in which they were found."""

    picture: Image
    """uint8 RGB [H, W, 3]: the given one, or that one turned upright."""
    faces: list[DetectedFace]
    """In pixels of ``picture``, the largest first."""
    rotation: int = 0
    """Degrees by which the given picture was turned, counter-clockwise, to ``picture``."""
    is_whole: bool = False
    """True if no detector found the face: it is the whole picture, which looks like a crop."""

    def given_box(self, box: Box) -> Box:
        """Map a box from ``picture`` to the given picture."""
        (x0, y0), (x1, y1) = self.given_points(np.reshape(box, (2, 2)), edges=True).tolist()
        return (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))

    def given_points(self, points: NDArray[Any], *, edges: bool = False) -> NDArray[np.float32]:
        """Map points [N, 2] from ``picture`` to the given picture.

        Whole numbers are middles of pixels, unless ``edges``: then they are their left and upper edges.
        """
        x, y = np.asarray(points, np.float32).T
        height, width = (size if edges else size - 1 for size in self.picture.shape[:2])
        turned = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}
        return np.stack(turned[self.rotation], 1)


def second_look(frame: Image, detector: FaceDetector, faces: Sequence[DetectedFace] = ()) -> SecondLook:
    """Search ``frame`` (uint8 RGB [H, W, 3]) again after ``detector`` found ``faces`` in it, none or none surely.

    First, where there are none, as a tight crop, then turned by 90, 180 and 270 degrees. The surest face decides: a
    face on its side is often found, too, but with a lower score, and its points do not show how it lies.
    """
    if detector.name not in SEARCHED_TWICE:
        return SecondLook(frame, list(faces))
    upright = list(faces) or _in_tight_crop(frame, detector)
    score = _highest_score(upright)
    if score >= SEARCHED_TWICE[detector.name][0]:
        return SecondLook(frame, upright)
    turned = _turned_look(frame, detector, score)
    return turned if turned.faces else SecondLook(frame, upright)


@dataclass(frozen=True)
class ClipLook:
    """Faces of the frames of a clip, in the frames in which they were found."""

    pictures: Sequence[Image]
    """uint8 RGB [H, W, 3]: the given frames, or these turned upright."""
    by_frame: list[list[DetectedFace]]
    """In pixels of ``pictures``, the largest first."""
    rotation: int = 0
    """See `SecondLook.rotation`: the same for every frame."""

    def of(self, frame: int) -> SecondLook:
        """Return the look at one frame."""
        return SecondLook(self.pictures[frame], self.by_frame[frame], self.rotation)


def look_at_clip(frames: Sequence[Image], detector: FaceDetector) -> ClipLook:
    """Search every frame; where none has a sure face, one of them turned, and if it has a surer one there, all of them.

    That is the frame with the surest face, else the middle one. So a clip without a person costs three searches more,
    whatever its length.
    """
    by_frame = [detector.detect(frame) for frame in frames]
    if not frames or detector.name not in SEARCHED_TWICE:
        return ClipLook(frames, by_frame)
    scores = [_highest_score(faces) for faces in by_frame]
    surest = int(np.argmax(scores)) if any(by_frame) else len(frames) // 2
    if scores[surest] >= SEARCHED_TWICE[detector.name][0]:
        return ClipLook(frames, by_frame)
    rotation = _turned_look(frames[surest], detector, scores[surest]).rotation
    if not rotation:
        return ClipLook(frames, by_frame)
    turned = [_turned(frame, rotation // 90) for frame in frames]
    return ClipLook(turned, [detector.detect(frame) for frame in turned], rotation)


def _turned_look(frame: Image, detector: FaceDetector, score: float) -> SecondLook:
    """Search the picture turned; nothing is found where the surest face is hardly surer than ``score``."""
    small, scale = shrunk(frame)
    looks = {quarters: detector.detect(_turned(small, quarters)) for quarters in (1, 2, 3)}
    best = max(looks, key=lambda quarters: _highest_score(looks[quarters]))
    least = max(SEARCHED_TWICE[detector.name][1], score + min(GAIN, (1 - score) / 2)) if score else SURE
    if _highest_score(looks[best]) < least:
        return SecondLook(frame, [])
    return SecondLook(_turned(frame, best), [face.moved(0, 0, scale) for face in looks[best]], 90 * best)


def looks_like_crop(frame: Image) -> bool:
    """Return whether a picture has the size and the proportions of a face that somebody cut out."""
    shorter, longer = sorted(frame.shape[:2])
    return bool(longer <= CROP_SIDE and longer <= CROP_RATIO * shorter)


def _highest_score(faces: Sequence[DetectedFace]) -> float:
    return max((face.score or 0.0 for face in faces), default=0.0)


def _in_tight_crop(frame: Image, detector: FaceDetector) -> list[DetectedFace]:
    """Search the picture, as small as it is searched anyway, inside an even border; a face counts if it fills it."""
    small, scale = shrunk(frame)
    height, width = small.shape[:2]
    border = round(BORDER * max(height, width))
    bordered = np.empty((height + 2 * border, width + 2 * border, 3), np.uint8)
    bordered[:] = small.reshape(-1, 3).mean(0).astype(np.uint8)
    bordered[border : border + height, border : border + width] = small
    moved = [face.moved(-border, -border, scale) for face in detector.detect(bordered)]
    faces = [_inside(face, frame.shape[1], frame.shape[0]) for face in moved]
    return [face for face in faces if box_area(face.box) >= FILLED * frame.shape[0] * frame.shape[1]]


def _inside(face: DetectedFace, width: int, height: int) -> DetectedFace:
    x0, y0, x1, y1 = face.box
    return replace(face, box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))))


def _turned(frame: Image, quarters: int) -> Image:
    return np.ascontiguousarray(np.rot90(frame, quarters))
