"""Find faces with the Haar cascades that OpenCV 4 ships: no weights to fetch, frontal and moderately turned faces."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emo_edge.errors import InputError, MissingExtraError
from emo_edge.faces.detector import DetectedFace, box_area, in_frame, search_picture
from emo_edge.machine.cpus import limit_opencv_threads
from emo_edge.media.crops import Box, Image
from emo_edge.utils.native_paths import native_path
from emo_edge.utils.opencv import open_cv2

Profiles = Literal["fallback", "always", "never"]

MIN_FACE = 0.1
"""Smallest face that is searched for, as a fraction of the frame's shorter side."""
SYSTEM_FOLDERS = ("/usr/share/opencv4/haarcascades", "/usr/local/share/opencv4/haarcascades")
"""Folders of the cascades in distributions and JetPack; pip's wheel holds its own."""
HALF_SURE = 10.0
"""Raw hits on a face whose score is one half."""
SAME_FACE = 0.4
"""Two hits are one face when they overlap by more than this fraction of the smaller one's area."""


@dataclass(frozen=True)
class _Cascade:
    """A cascade and how the face lies in the square window it reports.

    ``shift_y``, ``width`` and ``height`` are fractions of the window's side: the distance of the face's middle below
    the window's, and the face's size. They are means over synthetic faces, whose boxes are what the networks were
    trained on (forehead to chin, ear to ear; the windows are wider).
    """

    file: str
    neighbours: int
    shift_y: float
    width: float
    height: float

    def face(self, window: Box) -> Box:
        """Return the face in a square ``window``."""
        x0, y0, x1, y1 = window
        side, x, y = x1 - x0, (x0 + x1) / 2, (y0 + y1) / 2 + self.shift_y * (y1 - y0)
        half_x, half_y = self.width * side / 2, self.height * side / 2
        return (x - half_x, y - half_y, x + half_x, y + half_y)


# Measured against 287 frontal hits (one sigma 0.03 in position, 0.08 in size) and 80 hits on faces turned by 0.4 to
# 1.1 rad. Sideways both are centred within 0.01.
FRONTAL = _Cascade("haarcascade_frontalface_alt2.xml", 3, shift_y=0.010, width=0.830, height=0.937)
PROFILE = _Cascade("haarcascade_profileface.xml", 4, shift_y=0.035, width=0.715, height=0.900)


class HaarDetector:
    """OpenCV's frontal and profile cascades, with boxes corrected to the face (see `_Cascade`).

    The profile cascade costs twice the frontal one and finds nothing more up to a yaw of 0.5 rad, so by default it
    only runs where there is no frontal face; "always" also finds turned faces next to frontal ones. The score is
    hits / (hits + `HALF_SURE`) of the raw hits on the face: higher is surer, and no probability.
    """

    name = "haar"

    def __init__(self, *, profiles: Profiles = "fallback", min_face: float = MIN_FACE) -> None:
        if profiles not in ("fallback", "always", "never"):
            raise InputError(f"`profiles` is fallback, always or never, not {profiles!r}")
        if not 0 < min_face <= 1:
            raise InputError(f"`min_face` is a fraction of the frame in (0, 1], not {min_face}")
        self._profiles, self._min_face = profiles, min_face
        self._frontal = _opened_cascade(FRONTAL.file)
        self._profile = None if profiles == "never" else _opened_cascade(PROFILE.file)

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return the faces of ``frame`` (uint8 RGB [H, W, 3]), the largest first."""
        grey, scale = search_picture(frame, grey=True)
        faces = self._hits(self._frontal, FRONTAL, grey)
        if self._profile is not None and (self._profiles == "always" or not faces):
            faces += self._hits(self._profile, PROFILE, grey)
            mirrored = self._hits(self._profile, PROFILE, np.ascontiguousarray(grey[:, ::-1]))
            faces += [_mirrored(face, grey.shape[1]) for face in mirrored]
        return in_frame(_distinct(faces), scale, frame)

    def for_large_faces(self, min_face: float) -> HaarDetector:
        """Return this detector for faces of at least ``min_face`` of the picture's shorter side, on the same cascades.

        The smallest windows cost the most: a cut-out around a face needs none of them.
        """
        other = copy(self)
        other._min_face = min_face
        return other

    def _hits(self, classifier: Any, cascade: _Cascade, grey: Image) -> list[DetectedFace]:
        smallest = max(round(self._min_face * min(grey.shape)), 1)
        windows, counts = classifier.detectMultiScale2(
            grey, scaleFactor=1.1, minNeighbors=cascade.neighbours, minSize=(smallest, smallest)
        )
        return [
            DetectedFace(cascade.face((float(x), float(y), float(x + w), float(y + h))), hits / (hits + HALF_SURE))
            for (x, y, w, h), hits in zip(windows, map(float, counts), strict=True)
        ]


def _opened_cascade(file: str) -> Any:
    cv2 = open_cv2()
    limit_opencv_threads(cv2)
    if not hasattr(cv2, "CascadeClassifier"):
        raise MissingExtraError(
            f"OpenCV {cv2.__version__} has no Haar cascades any more. "
            'Run: pip install "opencv-python-headless>=4.10,<5", or use the face detector "yunet"'
        )
    for folder in _cascade_folders(cv2):
        if not (folder / file).is_file():
            continue
        with native_path(folder / file) as name:
            classifier = cv2.CascadeClassifier(name)
        if not classifier.empty():
            return classifier
    folders = ", ".join(map(str, _cascade_folders(cv2)))
    raise MissingExtraError(f"OpenCV's {file} is in none of {folders}. Install the package opencv-data")


def _cascade_folders(cv2: Any) -> list[Path]:
    pip = getattr(getattr(cv2, "data", None), "haarcascades", None)
    return [Path(folder) for folder in ([pip] if pip else []) + [*SYSTEM_FOLDERS]]


def _mirrored(face: DetectedFace, width: int) -> DetectedFace:
    x0, y0, x1, y1 = face.box
    return DetectedFace((width - x1, y0, width - x0, y1), face.score)


def _overlap(one: Box, other: Box) -> float:
    """Return the overlap as a fraction of the smaller box, so that a box inside another counts fully."""
    area = box_area(
        (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])),
    )
    return area / min(box_area(one), box_area(other))


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Keep the surest of overlapping hits."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda face: -(face.score or 0)):
        if all(_overlap(face.box, other.box) <= SAME_FACE for other in kept):
            kept.append(face)
    return kept
